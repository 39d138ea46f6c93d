//! How a run goes, told on standard error.

use crate::commands::stdout::to_stderr;
use crate::input::{ProcessSampler, latest_header};
use crate::units;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One line that is updated on a terminal, a new line now and then elsewhere.
pub(super) struct Progress {
    name: String,
    pub(super) on_terminal: bool,
    started: Instant,
    next: Duration,
    warn_at: Option<Duration>,
}

impl Progress {
    const TERMINAL_EVERY: Duration = Duration::from_secs(1);
    const FIRST: Duration = Duration::from_secs(10);
    const EVERY_MAX: Duration = Duration::from_secs(600);

    pub(super) fn new(name: String, every_ms: u64) -> Self {
        let on_terminal = io::stderr().is_terminal();
        let next = if on_terminal { Self::TERMINAL_EVERY } else { Self::FIRST };
        let warn_at = Some(Duration::from_millis(every_ms) * 3 + Duration::from_secs(3));
        Self { name, on_terminal, started: Instant::now(), next, warn_at }
    }

    pub(super) fn show_when_due(&mut self, sampler: &ProcessSampler, files: impl FnOnce() -> Vec<PathBuf>) {
        let elapsed = self.started.elapsed();
        let warn = self.warn_at.is_some_and(|at| elapsed >= at);
        if elapsed < self.next && !warn {
            return;
        }
        let files = files();
        if warn {
            self.warn_at = None;
            if files.is_empty() {
                clear_line(self.on_terminal);
                to_stderr("leakcheck: no snapshots so far; does the program have the recorder?\n");
            }
        }
        if elapsed >= self.next {
            self.next =
                if self.on_terminal { elapsed + Self::TERMINAL_EVERY } else { elapsed + elapsed.min(Self::EVERY_MAX) };
            let line = self.line(elapsed, sampler, &files);
            clear_line(self.on_terminal);
            to_stderr(&if self.on_terminal { fit_terminal(line) } else { line + "\n" });
        }
    }

    fn line(&self, elapsed: Duration, sampler: &ProcessSampler, files: &[PathBuf]) -> String {
        let elapsed = units::duration(elapsed.as_secs() * 1000);
        let snapshots = units::counted(files.len() as u64, "snapshot");
        let live = latest_header(files).map(|header| header.totals.live().bytes);
        let live = live.map_or_else(String::new, |bytes| format!(", live {}", units::bytes(bytes)));
        let resident = sampler.latest().map(|resident| resident.rss_bytes);
        let resident = resident.map_or_else(String::new, |bytes| format!(", resident {}", units::bytes(bytes)));
        format!("leakcheck: {elapsed}, {snapshots}{live}{resident} ({})", self.name)
    }
}

/// A line that wraps could not be replaced by the next one.
fn fit_terminal(line: String) -> String {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
    line.chars().take(columns.saturating_sub(1)).collect()
}

pub(super) fn clear_line(on_terminal: bool) {
    if on_terminal {
        to_stderr("\r\x1b[K");
    }
}
