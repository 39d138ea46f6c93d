//! The rows of the table: a workload with its parameters.

use super::options::Options;
use std::path::PathBuf;

/// A workload with parameters.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    /// `name=value`, as they go to the child.
    pub(crate) parameters: Vec<String>,
    /// What the parameters of the table are called; the rest is the same in all rows.
    pub(crate) label: String,
    /// Whether several threads work, so that the CPU time of the process counts.
    pub(crate) threaded: bool,
    /// What an operation is.
    pub(crate) operation: &'static str,
}

impl Row {
    fn new(workload: &'static str, parameters: &str, operation: &'static str) -> Self {
        Self {
            workload,
            parameters: parameters.split_whitespace().map(str::to_owned).collect(),
            label: format!("{workload} {parameters}").trim().to_owned(),
            threaded: false,
            operation,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push(format!("{name}={value}"));
        self
    }
}

/// The rows that the options ask for.
pub(crate) fn chosen(options: &Options, sources: &[PathBuf]) -> Result<Vec<Row>, String> {
    let all = all(sources);
    if let Some(name) = options.workloads.iter().find(|name| all.iter().all(|row| row.workload != **name)) {
        let mut names: Vec<&str> = all.iter().map(|row| row.workload).collect();
        names.dedup();
        return Err(format!("there is no workload `{name}`; there are {}", names.join(", ")));
    }
    let wanted = |row: &Row| options.workloads.is_empty() || options.workloads.iter().any(|name| name == row.workload);
    let mut rows: Vec<Row> = all.into_iter().filter(wanted).collect();
    if options.smoke {
        for row in &mut rows {
            shorten(row);
        }
    }
    Ok(rows)
}

/// Little of everything, and every count checked.
fn shorten(row: &mut Row) {
    for parameter in ["check=yes", "scale=0.02", "regions=2"] {
        row.parameters.push(parameter.to_owned());
    }
    match row.workload {
        "live" => row.parameters.push("entries=20000".into()),
        "json" => row.parameters.push("bytes=400000".into()),
        _ => {}
    }
}

fn all(sources: &[PathBuf]) -> Vec<Row> {
    let sources: Vec<String> = sources.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    vec![
        Row::new("path", "depth=5", "pair"),
        Row::new("path", "depth=16", "pair"),
        Row::new("path", "depth=40", "pair"),
        Row::new("paths", "paths=64 inner=3", "pair"),
        Row::new("paths", "paths=64 inner=8", "pair"),
        Row::new("paths", "paths=4096 inner=8", "pair"),
        Row::new("paths", "paths=0 inner=8 pairs=100000", "pair"),
        Row::new("paths", "paths=64 inner=20 depth=40", "pair"),
        Row::new("json", "", "byte"),
        Row::new("parser", "", "byte").with("sources", &sources.join(":")),
        Row::new("live", "kind=map", "replacement"),
        Row::new("live", "kind=tree", "replacement"),
        Row::new("live", "kind=blocks size=24", ""),
        Row::new("live", "kind=blocks size=64", ""),
        Row::new("live", "kind=blocks size=250", ""),
        Row::new("live", "kind=blocks size=1000", ""),
    ]
}
