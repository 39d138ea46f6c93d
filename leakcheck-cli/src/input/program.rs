//! A program that is run to be recorded: started, watched to its end, and stopped when the user asks.

use crate::error::Error;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

/// How long the program may take to end by itself once it was asked to, and again once it was told to.
const GRACE: Duration = Duration::from_secs(5);
/// How often the program and the signals are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How a program is to be recorded.
pub(crate) struct Recipe<'a> {
    /// The program with its arguments.
    pub(crate) program: &'a [OsString],
    /// The recorder's mode.
    pub(crate) mode: &'a str,
    /// Time between snapshots.
    pub(crate) every_ms: u64,
    /// Folder for the snapshots; absolute, since the program may change its own.
    pub(crate) folder: &'a Path,
    /// Whether the program's standard output goes to our standard error.
    pub(crate) stdout_to_stderr: bool,
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    signals: Signals,
    stopping: Stopping,
}

/// How far the program's end has been pursued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// Nobody asked.
    No,
    /// The signal the user sent has reached it, at this time.
    Asked(Instant),
    /// It did not end by that; it was told to terminate, at this time.
    Told(Instant),
    /// It was killed.
    Killed,
}

impl Program {
    /// Starts the program with recording switched on. From here on Ctrl-C ends the program and not us.
    pub(crate) fn start(recipe: &Recipe<'_>) -> Result<Self, Error> {
        let [name, arguments @ ..] = recipe.program else { return Err(Error::new("run nothing: name a program")) };
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|e| Error::because("listen for signals", e))?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env("LEAKCHECK", recipe.mode)
            .env("LEAKCHECK_OUT", recipe.folder)
            .env("LEAKCHECK_EVERY", format!("{}ms", recipe.every_ms));
        if recipe.stdout_to_stderr {
            let stderr = io::stderr().as_fd().try_clone_to_owned();
            command.stdout(Stdio::from(stderr.map_err(|e| Error::because("pass the program's output on", e))?));
        }
        let child = command.spawn().map_err(|e| Error::because(format!("run {}", shown(name)), e))?;
        Ok(Self { child, signals, stopping: Stopping::No })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end, and does `meanwhile` many times a second. `tell` hears what is done about signals.
    pub(crate) fn wait(
        &mut self,
        mut meanwhile: impl FnMut(),
        mut tell: impl FnMut(&str),
    ) -> Result<ExitStatus, Error> {
        loop {
            meanwhile();
            let ended = self.child.try_wait().map_err(|e| Error::because("wait for the program", e))?;
            if let Some(status) = ended {
                return Ok(status);
            }
            let signals: Vec<i32> = self.signals.pending().collect();
            for signal in signals {
                self.ask_to_stop(signal, &mut tell);
            }
            self.insist(&mut tell);
            thread::sleep(LOOK);
        }
    }

    fn ask_to_stop(&mut self, signal: i32, tell: &mut impl FnMut(&str)) {
        match self.stopping {
            Stopping::No => {
                tell("stopping the program; its report follows (once more kills it)");
                // At a terminal, Ctrl-C reaches the program by itself, and must not come twice.
                if !(signal == SIGINT && in_foreground()) {
                    self.send(Signal::from_named_raw(signal).unwrap_or(Signal::TERM));
                }
                self.stopping = Stopping::Asked(Instant::now());
            }
            Stopping::Asked(_) | Stopping::Told(_) => self.kill(tell),
            Stopping::Killed => {}
        }
    }

    fn insist(&mut self, tell: &mut impl FnMut(&str)) {
        match self.stopping {
            Stopping::Asked(since) if since.elapsed() > GRACE => {
                self.send(Signal::TERM);
                self.stopping = Stopping::Told(Instant::now());
            }
            Stopping::Told(since) if since.elapsed() > GRACE => self.kill(tell),
            _ => {}
        }
    }

    fn kill(&mut self, tell: &mut impl FnMut(&str)) {
        tell("killing the program");
        self.send(Signal::KILL);
        self.stopping = Stopping::Killed;
    }

    /// The process cannot be another one of the same id: only `wait` reaps it, and it looks before each call of this.
    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may just have ended; then there is nothing to do.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Whether the terminal sends Ctrl-C to our process group, and so to the program too.
fn in_foreground() -> bool {
    let group = getpgrp();
    [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()]
        .into_iter()
        .any(|fd| rustix::termios::tcgetpgrp(fd).is_ok_and(|foreground| foreground == group))
}

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
