//! The variants: an allocator with its recorder in one of its modes, how it is started, and what it is compared with.

use super::build::{Binaries, Folder};
use super::options::Options;
use std::borrow::Cow;
use std::path::Path;
use std::process::Command;

/// What a workload can run under.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// As in the table and on the command line.
    pub(crate) name: Cow<'static, str>,
    /// Where the child's binary is.
    pub(crate) folder: Folder,
    /// The child's binary.
    pub(crate) binary: &'static str,
    /// The child's first argument.
    pub(crate) mode: &'static str,
    /// What it is started with.
    pub(crate) launch: Launch,
    /// The variant it is compared with.
    pub(crate) baseline: &'static str,
    /// The part of a workload's operations that it does; slow ones do fewer.
    pub(crate) scale: f64,
    /// More parameters, by workload: what would not fit into memory otherwise.
    pub(crate) besides: &'static [(&'static str, &'static str)],
    /// Which rows it is part of.
    pub(crate) group: Group,
    /// Whether part of the work is done by threads of the recorder, so that the CPU time of the process counts, over
    /// several seconds.
    pub(crate) in_background: bool,
}

/// How a child is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launch {
    /// By itself, with a variable in its environment where there is one.
    Alone(Option<(&'static str, &'static str)>),
    /// With heaptrack's library, which writes into nothing.
    Heaptrack,
    /// Under valgrind's memcheck.
    Memcheck,
}

/// Which rows a variant is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// All.
    Leakcheck,
    /// Those for everyone, when peers are asked for.
    Peer,
    /// Only those that name it.
    Special,
}

const HEAPTRACK: &str = "/usr/lib/heaptrack/libheaptrack_preload.so";
const VALGRIND: &str = "/usr/bin/valgrind";

const PLAIN: Variant = Variant {
    name: Cow::Borrowed("system"),
    folder: Folder::Release,
    binary: "child-system",
    mode: "plain",
    launch: Launch::Alone(None),
    baseline: "system",
    scale: 1.0,
    besides: &[],
    group: Group::Leakcheck,
    in_background: false,
};

fn named(name: &'static str) -> Variant {
    Variant { name: Cow::Borrowed(name), ..PLAIN }
}

fn recorded(name: &'static str, mode: &'static str) -> Variant {
    Variant { binary: "child-leakcheck", mode, ..named(name) }
}

fn peer(name: &'static str, binary: &'static str, scale: f64) -> Variant {
    Variant { binary, group: Group::Peer, scale, ..named(name) }
}

fn jemalloc(name: &'static str, options: &'static str, scale: f64) -> Variant {
    let launch = Launch::Alone(Some(("_RJEM_MALLOC_CONF", options)));
    Variant { launch, baseline: "jemalloc", ..peer(name, "child-jemalloc", scale) }
}

fn frame_pointers(variant: Variant) -> Variant {
    Variant { folder: Folder::FramePointers, baseline: "system, fp", ..variant }
}

/// All of them; baselines before what is compared with them.
fn all() -> Vec<Variant> {
    vec![
        PLAIN,
        recorded("dormant", "dormant"),
        recorded("sampled", "sampled"),
        recorded("exact", "exact"),
        Variant { in_background: true, ..recorded("exact+snapshots", "snapshots") },
        Variant { group: Group::Special, ..recorded("asked", "asked") },
        Variant { group: Group::Special, ..recorded("asked, no names", "asked-nameless") },
        peer("dhat", "child-dhat", 0.03),
        frame_pointers(peer("system, fp", "child-system", 1.0)),
        frame_pointers(Variant { mode: "exact", ..peer("exact, fp", "child-leakcheck", 1.0) }),
        frame_pointers(peer("heapscope, fp", "child-heapscope", 0.3)),
        Variant { mode: "nothing", ..peer("tracking-allocator, no-op", "child-tracking-allocator", 1.0) },
        Variant {
            mode: "dashmap",
            besides: &[("live", "entries=200000")],
            ..peer("tracking-allocator, dashmap+backtrace", "child-tracking-allocator", 0.02)
        },
        jemalloc("jemalloc", "prof:false", 1.0),
        jemalloc("jemalloc, 512 KiB", "prof:true,lg_prof_sample:19", 1.0),
        Variant {
            besides: &[("live", "entries=200000")],
            ..jemalloc("jemalloc, every block", "prof:true,lg_prof_sample:0", 0.05)
        },
        Variant { launch: Launch::Heaptrack, ..peer("heaptrack", "child-system", 0.2) },
        Variant {
            launch: Launch::Memcheck,
            besides: &[("live", "entries=200000")],
            ..peer("memcheck", "child-system", 0.03)
        },
    ]
}

impl Variant {
    /// Why it cannot be run here, if so.
    fn missing(&self) -> Option<&'static str> {
        match self.launch {
            Launch::Heaptrack if !Path::new(HEAPTRACK).exists() => Some("heaptrack is not installed"),
            Launch::Memcheck if !Path::new(VALGRIND).exists() => Some("valgrind is not installed"),
            _ => None,
        }
    }

    /// The child, to which the workload's arguments are still to be given.
    pub(crate) fn command(&self, binaries: &Binaries) -> Command {
        let path = binaries.path(&self.folder, self.binary);
        let mut command = match self.launch {
            Launch::Memcheck => {
                let mut command = Command::new(VALGRIND);
                command.args(["--quiet", "--error-exitcode=0", "--leak-check=no"]).arg(path);
                command
            }
            _ => Command::new(path),
        };
        match self.launch {
            Launch::Alone(Some((name, value))) => {
                command.env(name, value);
            }
            Launch::Heaptrack => {
                command.env("LD_PRELOAD", HEAPTRACK).env("DUMP_HEAPTRACK_OUTPUT", "/dev/null");
            }
            _ => {}
        }
        // What is set for leakcheck in this terminal is not meant for children.
        command.env_remove("LEAKCHECK").arg(self.mode);
        command
    }
}

/// The variants that the options ask for, with their baselines.
pub(crate) fn chosen(options: &Options) -> Result<Vec<Variant>, String> {
    let all = all();
    if let Some(name) = options.variants.iter().find(|name| all.iter().all(|variant| variant.name != **name)) {
        let names: Vec<&str> = all.iter().map(|variant| variant.name.as_ref()).collect();
        return Err(format!("there is no variant `{name}`; there are: {}", names.join("; ")));
    }
    let named = |variant: &Variant| options.variants.iter().any(|name| *name == variant.name);
    let wanted: Vec<&Variant> = all
        .iter()
        .filter(|variant| match () {
            () if !options.variants.is_empty() => named(variant),
            () => variant.group != Group::Peer || options.peers,
        })
        .filter(|variant| match variant.missing() {
            Some(why) => {
                eprintln!("{}: {why}", variant.name);
                false
            }
            None => true,
        })
        .collect();
    let needed = |variant: &&Variant| wanted.iter().any(|one| one.name == variant.name || one.baseline == variant.name);
    Ok(all.iter().filter(needed).cloned().collect())
}

/// Exact recording by this leakcheck, and by that of another commit, compared with it.
pub(crate) fn with_other_commit(name: &str) -> Vec<Variant> {
    let other =
        Variant { name: Cow::Owned(format!("exact, {name}")), folder: Folder::OtherCommit, ..recorded("", "exact") };
    vec![PLAIN, recorded("exact", "exact"), other]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_baseline_stands_before_what_is_compared_with_it() {
        let all = all();
        for (place, variant) in all.iter().enumerate() {
            let baseline = all.iter().position(|one| one.name == variant.baseline);
            assert!(baseline.is_some_and(|baseline| baseline <= place), "{}", variant.name);
        }
    }
}
