//! Starts programs and watches them with the command.

pub(crate) use crate::said::Said;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// An empty folder that is the runtime directory as well; removed when dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number counts.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lc-watch-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// This program as one that is to be watched.
    pub(crate) fn program(&self, name: &str) -> Program {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("WATCHED", name).env_remove("LEAKCHECK");
        self.start(command)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn start(&self, mut command: Command) -> Program {
        command.current_dir(&self.0).env("XDG_RUNTIME_DIR", &self.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Program(command.spawn().unwrap())
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leakcheck"));
        command.current_dir(&self.0).stdin(Stdio::null()).env("XDG_RUNTIME_DIR", &self.0).env_remove("NO_COLOR");
        command
    }

    /// Runs the command to its end.
    pub(crate) fn leakcheck<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        self.command().args(arguments).output().unwrap().into()
    }

    /// `watch` with the options as in a shell.
    pub(crate) fn watch(&self, options: &str) -> Said {
        self.leakcheck(["watch"].into_iter().chain(options.split_whitespace()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running program, killed when dropped.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first thing that is there within a minute.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many snapshots lie in a folder.
pub(crate) fn snapshots_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json")).count()
}
