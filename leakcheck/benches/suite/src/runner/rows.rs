//! The rows of the table: a workload with its parameters.

use super::options::Options;
use super::variants::{Group, Variant};
use std::path::PathBuf;

/// A workload with parameters.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    /// `name=value`, as they go to the child.
    pub(crate) parameters: Vec<String>,
    /// What it is called in the table.
    pub(crate) label: String,
    /// Whether several threads work, so that the CPU time of the process counts.
    pub(crate) threaded: bool,
    /// What an operation is; empty where no time is measured.
    pub(crate) operation: &'static str,
    /// Whether peers run it too.
    pub(crate) for_peers: bool,
    /// The only variants it makes sense for, by name.
    only: &'static [&'static str],
}

impl Row {
    fn new(workload: &'static str, parameters: &str, operation: &'static str) -> Self {
        Self {
            workload,
            parameters: parameters.split_whitespace().map(str::to_owned).collect(),
            label: format!("{workload} {parameters}").trim().to_owned(),
            threaded: false,
            operation,
            for_peers: false,
            only: &[],
        }
    }

    fn threaded(self) -> Self {
        Self { threaded: true, ..self }
    }

    fn for_peers(self) -> Self {
        Self { for_peers: true, ..self }
    }

    fn with(mut self, parameter: &str) -> Self {
        self.parameters.push(parameter.to_owned());
        self
    }

    /// Whether a variant is part of it.
    pub(crate) fn has(&self, variant: &Variant) -> bool {
        if !self.only.is_empty() {
            return self.only.iter().any(|name| *name == variant.name);
        }
        match variant.group {
            Group::Leakcheck => true,
            Group::Peer => self.for_peers,
            Group::Special => false,
        }
    }
}

/// The rows that the options ask for.
pub(crate) fn chosen(options: &Options, sources: &[PathBuf]) -> Result<Vec<Row>, String> {
    let all = all(sources);
    if let Some(name) = options.workloads.iter().find(|name| all.iter().all(|row| row.workload != **name)) {
        let mut names: Vec<&str> = all.iter().map(|row| row.workload).collect();
        names.dedup();
        return Err(format!("there is no workload `{name}`; there are: {}", names.join(", ")));
    }
    let wanted = |row: &Row| options.workloads.is_empty() || options.workloads.iter().any(|name| name == row.workload);
    let mut rows: Vec<Row> = all.into_iter().filter(wanted).collect();
    if options.smoke {
        rows.iter_mut().for_each(shorten);
    }
    Ok(rows)
}

/// Little of everything, and every count checked.
fn shorten(row: &mut Row) {
    let less: &[&str] = match row.workload {
        "live" => &["entries=20000"],
        "grow" => &["bytes=20000000"],
        "deep" => &["dives=50"],
        "dlopen" => &["loads=10"],
        "http" => &["warmups=0", "regions=1"],
        "snapshot" => &["snapshots=2", "quiet_ms=50"],
        _ => &[],
    };
    let checked = ["check=yes", "scale=0.02", "regions=2"];
    // Later ones replace earlier ones.
    row.parameters.extend(checked.iter().chain(less).map(|parameter| (*parameter).to_owned()));
}

fn all(sources: &[PathBuf]) -> Vec<Row> {
    let sources: Vec<String> = sources.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    let sources = format!("sources={}", sources.join(":"));
    vec![
        Row::new("path", "depth=5 slots=1 places=1", "pair"),
        Row::new("path", "depth=40 slots=1 places=1", "pair"),
        Row::new("path", "depth=40 slots=1 places=1 threads=2", "pair").threaded(),
        Row::new("path", "depth=5", "pair"),
        Row::new("path", "depth=16", "pair").for_peers(),
        Row::new("path", "depth=40", "pair"),
        Row::new("paths", "paths=64 inner=3", "pair"),
        Row::new("paths", "paths=64 inner=8", "pair").for_peers(),
        Row::new("paths", "paths=4096 inner=8", "pair").for_peers(),
        Row::new("paths", "paths=0 inner=8 pairs=100000", "pair"),
        Row::new("paths", "paths=64 inner=20 depth=40", "pair"),
        Row::new("threads", "threads=1", "pair").threaded(),
        Row::new("threads", "threads=2", "pair").threaded().for_peers(),
        Row::new("threads", "threads=4", "pair").threaded(),
        Row::new("threads", "threads=8", "pair").threaded(),
        Row::new("threads", "threads=16", "pair").threaded(),
        Row::new("json", "", "byte").for_peers(),
        Row::new("parser", "", "byte").with(&sources).for_peers(),
        Row::new("live", "kind=map", "replacement").for_peers(),
        Row::new("live", "kind=tree", "replacement"),
        Row::new("live", "kind=blocks size=24", ""),
        Row::new("live", "kind=blocks size=64", ""),
        Row::new("live", "kind=blocks size=250", ""),
        Row::new("live", "kind=blocks size=1000", ""),
        Row::new("grow", "kind=push", "push").for_peers(),
        Row::new("grow", "kind=zeroed", "vector").for_peers(),
        Row::new("http", "", "request").threaded().for_peers(),
        Row::new("dlopen", "", "pair").threaded(),
        Row::new("coroutines", "", "pair"),
        Row::new("deep", "", "level"),
        Row { only: &["system", "asked", "asked, no names"], ..Row::new("snapshot", "", "") },
    ]
}
