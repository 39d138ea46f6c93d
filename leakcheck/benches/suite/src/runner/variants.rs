//! The variants: an allocator with its recorder in one of its modes, and what it is compared with.

use super::build::Binaries;
use super::options::Options;

/// What a workload can run under.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// As in the table and on the command line.
    pub(crate) name: &'static str,
    /// The child's binary.
    pub(crate) binary: &'static str,
    /// The child's first argument.
    pub(crate) mode: &'static str,
    /// The variant it is compared with.
    pub(crate) baseline: &'static str,
    /// The part of a workload's operations that it does; slow ones do fewer.
    pub(crate) scale: f64,
    /// Whether it belongs to leakcheck's peers.
    pub(crate) peer: bool,
    /// Whether part of the work is done by threads of the recorder, so that the CPU time of the process counts, over
    /// several seconds.
    pub(crate) in_background: bool,
}

const PLAIN: Variant = Variant {
    name: "system",
    binary: "child-system",
    mode: "plain",
    baseline: "system",
    scale: 1.0,
    peer: false,
    in_background: false,
};

const RECORDED: Variant = Variant { binary: "child-leakcheck", ..PLAIN };

/// All of them; baselines before what is compared with them.
const ALL: &[Variant] = &[
    PLAIN,
    Variant { name: "dormant", mode: "dormant", ..RECORDED },
    Variant { name: "sampled", mode: "sampled", ..RECORDED },
    Variant { name: "exact", mode: "exact", ..RECORDED },
    Variant { name: "exact+snapshots", mode: "snapshots", in_background: true, ..RECORDED },
];

/// The variants that the options ask for, with their baselines.
pub(crate) fn chosen(options: &Options, _binaries: &Binaries) -> Result<Vec<Variant>, String> {
    if let Some(name) = options.variants.iter().find(|name| ALL.iter().all(|variant| variant.name != **name)) {
        let names: Vec<&str> = ALL.iter().map(|variant| variant.name).collect();
        return Err(format!("there is no variant `{name}`; there are {}", names.join(", ")));
    }
    let named = |variant: &Variant| options.variants.iter().any(|name| name == variant.name);
    let wanted: Vec<&Variant> = ALL
        .iter()
        .filter(|variant| if options.variants.is_empty() { !variant.peer || options.peers } else { named(variant) })
        .collect();
    let needed = |variant: &&Variant| wanted.iter().any(|one| one.name == variant.name || one.baseline == variant.name);
    Ok(ALL.iter().filter(needed).cloned().collect())
}
