//! What `leakcheck watch` costs: the watched program, the watcher itself, and a program that could be watched.

mod compared;
mod days;
mod mappings;
mod start;
mod watcher;

use super::build::{self, Binaries, Folder, build_command, package, succeed};
use super::options::Options;
use std::path::PathBuf;
use std::time::Duration;

/// How long a watched child may take.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What all parts need.
struct Bench<'a> {
    options: &'a Options,
    binaries: &'a Binaries,
    /// The command.
    leakcheck: PathBuf,
}

impl Bench<'_> {
    fn child(&self, name: &str) -> PathBuf {
        self.binaries.path(&Folder::Release, name)
    }
}

type Part = fn(&Bench<'_>) -> Result<(), String>;

const PARTS: [(&str, Part); 4] =
    [("http", compared::http), ("mappings", mappings::run), ("start", start::run), ("days", days::run)];

/// Builds what is needed and runs the parts that the options ask for.
pub(crate) fn run(options: &Options, binaries: &Binaries) -> Result<(), String> {
    if let Some(name) = options.workloads.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        return Err(format!(
            "there is no workload `{name}` of watch; there are: {}",
            PARTS.map(|(name, _)| name).join(", ")
        ));
    }
    let children = ["child-system", "child-leakcheck"];
    succeed(&mut build_command(&package(), &binaries.target_folder(&Folder::Release), &children))?;
    let bench = Bench { options, binaries, leakcheck: build::leakcheck_command(binaries)? };
    for (name, part) in PARTS {
        if options.workloads.is_empty() || options.workloads.iter().any(|wanted| wanted == name) {
            part(&bench)?;
        }
    }
    Ok(())
}
