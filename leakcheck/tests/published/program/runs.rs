//! One run of a test program, in one mode of the recorder: which tests passed, how it ended, what the recorder lost.

use super::programs::Program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How the recorder is asked to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Linked in and asleep.
    Dormant,
    Exact,
    Sampled,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Dormant, Self::Exact, Self::Sampled];

    pub(crate) fn name(self) -> &'static str {
        ["dormant", "exact", "sampled"][self as usize]
    }

    /// What `LEAKCHECK` is set to. The sampling interval is small so that tests, which allocate little, are sampled at all.
    fn variable(self) -> &'static str {
        ["off", "exact", "sampled:4KiB"][self as usize]
    }
}

/// What became of one run.
pub(crate) struct Run {
    /// Each test's outcome, as the test harness words it.
    pub(crate) tests: BTreeMap<String, String>,
    /// None when it took too long and was killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) elapsed: Duration,
    /// The losses of the last snapshot that are not zero; empty when the recorder was dormant.
    pub(crate) losses: BTreeMap<String, u64>,
    /// Snapshots written.
    pub(crate) snapshots: usize,
    /// All it said.
    pub(crate) output: String,
}

impl Run {
    /// How it ended, in a word, for comparison.
    pub(crate) fn ending(&self) -> String {
        match self.status {
            None => "took too long".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (_, Some(signal)) => format!("signal {signal}"),
                _ => "unknown".to_owned(),
            },
        }
    }
}

/// Runs a program to its end, or to `patience`.
pub(crate) fn run(
    program: &Program,
    mode: Mode,
    package: &Path,
    scratch: &Path,
    patience: Duration,
) -> Result<Run, String> {
    let out = scratch.join("snapshots");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(|error| format!("remove {}: {error}", out.display()))?;
    }
    let log = scratch.join("output");
    let said = fs::File::create(&log).map_err(|error| format!("make {}: {error}", log.display()))?;
    let also = said.try_clone().map_err(|error| format!("share {}: {error}", log.display()))?;
    let mut command = Command::new(&program.executable);
    command.current_dir(package).env("CARGO_MANIFEST_DIR", package);
    command.env("LEAKCHECK", mode.variable()).env("LEAKCHECK_OUT", &out).env("LEAKCHECK_EVERY", "200ms");
    command.env("LEAKCHECK_NAMES", "no").stdin(Stdio::null()).stdout(said).stderr(also);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("run {}: {error}", program.executable.display()))?;
    let (sender, receiver) = mpsc::channel();
    let id = child.id().to_string();
    let waiter = std::thread::spawn(move || {
        let status = child.wait();
        // The receiver is gone only when the whole program is.
        let _ = sender.send(());
        status
    });
    let is_late = receiver.recv_timeout(patience).is_err();
    if is_late {
        // Only the child can have this identifier: the waiter has not collected it yet.
        Command::new("kill").args(["-KILL", &id]).status().map_err(|error| format!("run kill: {error}"))?;
    }
    let status = waiter.join().map_err(|_| "wait for a test program".to_owned())?;
    let status = status.map_err(|error| format!("wait for a test program: {error}"))?;
    let elapsed = began.elapsed();
    let mut output = Vec::new();
    let mut file = fs::File::open(&log).map_err(|error| format!("open {}: {error}", log.display()))?;
    file.read_to_end(&mut output).map_err(|error| format!("read {}: {error}", log.display()))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    let (losses, snapshots) = last_losses(&out)?;
    Ok(Run { tests: tests(&output), status: (!is_late).then_some(status), elapsed, losses, snapshots, output })
}

/// The outcomes in the harness's output. A test may print between its name and its outcome, so the two need not share a line.
fn tests(output: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in output.lines() {
        if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let word = outcome.split([',', ' ']).next().unwrap_or_default();
            let word = if ["ok", "FAILED", "ignored"].contains(&word) { word } else { "printed" };
            found.insert(name.to_owned(), word.to_owned());
        }
    }
    found
}

/// The losses in the newest snapshot of a folder, and how many snapshots there are.
fn last_losses(folder: &Path) -> Result<(BTreeMap<String, u64>, usize), String> {
    let mut paths: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut newest = (0, Value::Null);
    for path in &paths {
        let text = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let snapshot: Value =
            serde_json::from_slice(&text).map_err(|error| format!("read {}: {error}", path.display()))?;
        let sequence = snapshot["sequence"].as_u64().unwrap_or_default();
        if newest.1.is_null() || sequence > newest.0 {
            newest = (sequence, snapshot);
        }
    }
    let losses = newest.1["losses"].as_object().into_iter().flatten();
    let counted = losses.filter_map(|(name, count)| Some((name.clone(), count.as_u64().filter(|&count| count > 0)?)));
    Ok((counted.collect(), paths.len()))
}
