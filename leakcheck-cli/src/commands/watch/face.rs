//! What a watch shows of itself while it runs: the live view on a terminal, lines elsewhere.

use super::lines::Lines;
use super::terminal::{Event, Terminal};
use crate::cli::OutputFormat;
use crate::commands::Stdout;
use crate::error::Error;
use crate::render::WatchView;
use crate::render::live::{LiveAction, LiveState};
use rustix::thread::{Timespec, nanosleep};
use std::io::{self, IsTerminal};
use std::time::Duration;

/// How it is shown.
pub(super) enum Face<'a> {
    Live { terminal: Box<Terminal>, state: Box<LiveState> },
    Lines(Lines<'a>),
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Quit,
    Snapshot,
}

impl<'a> Face<'a> {
    /// The live view where both ends are a terminal that can show it.
    pub(super) fn new(stdout: &'a Stdout, quiet: bool) -> Result<Self, Error> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let terminal = io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb;
        if quiet || !terminal || stdout.format != OutputFormat::Text {
            return Ok(Self::Lines(Lines::new(stdout, quiet)));
        }
        let terminal = Terminal::take(stdout.look).map_err(|e| Error::because("use the terminal", e))?;
        Ok(Self::Live { terminal: Box::new(terminal), state: Box::default() })
    }

    /// Whether it shows nothing of how the watch goes.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Lines(lines) if lines.is_silent())
    }

    /// Shows what is new; whether there is somebody to show it to.
    pub(super) fn tell(&mut self, view: &WatchView, events: &[String], sampled: bool) -> Result<bool, Error> {
        match self {
            Self::Live { terminal, state } => terminal.draw(view, state).map(|()| true).map_err(lost),
            Self::Lines(lines) => lines.tell(view, events, sampled),
        }
    }

    /// Waits a moment for the user; a signal ends it early.
    pub(super) fn wait(&mut self, view: &WatchView, moment: Duration) -> Result<Option<Asked>, Error> {
        let Self::Live { terminal, state } = self else {
            sleep_until_signal(moment);
            return Ok(None);
        };
        let mut asked = None;
        let mut timeout = moment;
        // All keys that wait are taken before anything is drawn.
        while let Some(event) = terminal.poll_key(timeout).map_err(lost)? {
            timeout = Duration::ZERO;
            if let Event::Key(key) = event {
                asked = state.key(key, view).or(asked);
                if asked == Some(LiveAction::Snapshot) {
                    state.tell("a snapshot of each process is taken");
                }
            }
        }
        if timeout.is_zero() {
            terminal.draw(view, state).map_err(lost)?;
        }
        Ok(asked.map(|action| match action {
            LiveAction::Quit => Asked::Quit,
            LiveAction::Snapshot => Asked::Snapshot,
        }))
    }
}

/// Unlike the standard library's `sleep`, which goes on after a signal.
fn sleep_until_signal(moment: Duration) {
    let moment = Timespec { tv_sec: moment.as_secs().cast_signed(), tv_nsec: i64::from(moment.subsec_nanos()) };
    let _ = nanosleep(&moment);
}

fn lost(error: io::Error) -> Error {
    Error::because("use the terminal", error)
}
