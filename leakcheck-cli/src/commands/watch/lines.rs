//! How a watch goes, in lines: for people on standard error, for programs on standard output.

use crate::cli::OutputFormat;
use crate::commands::Stdout;
use crate::commands::stdout::to_stderr;
use crate::error::Error;
use crate::render::{CheckReport, ProcessState, WatchView, watch_json, watch_lines};
use leakcheck::analysis::Verdict;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Writes what is new.
pub(super) struct Lines<'a> {
    stdout: &'a Stdout,
    quiet: bool,
    verdicts: HashMap<u32, Verdict>,
    began: Instant,
    next: Duration,
}

impl<'a> Lines<'a> {
    const FIRST: Duration = Duration::from_secs(10);
    const EVERY_MAX: Duration = Duration::from_secs(600);

    pub(super) fn new(stdout: &'a Stdout, quiet: bool) -> Self {
        Self { stdout, quiet, verdicts: HashMap::new(), began: Instant::now(), next: Self::FIRST }
    }

    /// Whether nobody wants to be told anything meanwhile.
    pub(super) fn is_silent(&self) -> bool {
        self.quiet && self.stdout.format != OutputFormat::Json
    }

    /// Tells `events`, verdicts that changed, now and then how all stand; to programs each sample. Whether somebody listens.
    pub(super) fn tell(&mut self, view: &WatchView, events: &[String], sampled: bool) -> Result<bool, Error> {
        let sampled = self.stdout.format == OutputFormat::Json && sampled;
        if sampled && !self.stdout.has_reader(watch_json::samples(view).as_bytes())? {
            return Ok(false);
        }
        if self.quiet {
            return Ok(true);
        }
        for event in events {
            say(event);
        }
        let due = self.began.elapsed() >= self.next;
        if due {
            self.next = self.began.elapsed() + self.began.elapsed().min(Self::EVERY_MAX);
        }
        for process in view.processes.iter().filter(|process| process.state == ProcessState::Running) {
            let before = self.verdicts.insert(process.pid, process.verdict);
            if due || before.is_some_and(|before| before != process.verdict) {
                say(&watch_lines::process(view, process));
            }
        }
        Ok(true)
    }
}

/// A line for people. Names come from elsewhere, and terminals obey what is not printable.
fn say(text: &str) {
    to_stderr(&format!("leakcheck: {}\n", text.replace(char::is_control, "\u{fffd}")));
}

/// The last line for programs.
pub(super) fn print_report(report: &CheckReport, stdout: &Stdout) -> Result<(), Error> {
    stdout.print(&watch_json::report(report))
}
