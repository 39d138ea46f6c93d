//! The live view as a person has it: in a terminal, which is resized, and over a line that is slow.

use crate::Test;
use crate::watcher::{Place, until};
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = tests![in_a_terminal_that_is_resized, over_a_slow_line];

/// A session of tmux, with a server of its own.
struct Session(String);

impl Session {
    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.0]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p", "-t", "w"]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn in_a_terminal_that_is_resized() {
    if Command::new("tmux").arg("-V").output().is_err() {
        assert!(std::env::var("LEAKCHECK_TEST_PROGRAMS").is_err(), "tmux is not installed");
        eprintln!("skipped: tmux is not installed");
        return;
    }
    let place = Place::new();
    let program = place.program("leak");
    let session = Session(format!("leakcheck-{}", std::process::id()));
    let command = format!(
        "cd {}; XDG_RUNTIME_DIR={} {} watch --pid {} --every 200ms --mode exact --out soak; echo ended with $?; sleep 600",
        place.path().display(),
        place.path().display(),
        env!("CARGO_BIN_EXE_leakcheck"),
        program.pid()
    );
    session.tmux(&["-f", "/dev/null", "new-session", "-d", "-s", "w", "-x", "80", "-y", "24", &command]);
    let small =
        until(|| Some(session.screen()).filter(|screen| screen.first().is_some_and(|l| l.starts_with("leaking: "))));
    assert!(small.iter().any(|line| line.contains("keep_session")), "{small:#?}");
    assert!(small.last().unwrap().starts_with("q quit"), "{small:#?}");
    session.tmux(&["resize-window", "-t", "w", "-x", "200", "-y", "60"]);
    let large = until(|| Some(session.screen()).filter(|screen| screen.iter().any(|line| line.chars().count() > 150)));
    assert!(large.iter().any(|line| line.contains("THREADS")), "a wide screen has room for more: {large:#?}");
    session.tmux(&["resize-window", "-t", "w", "-x", "40", "-y", "10"]);
    until(|| session.screen().iter().all(|line| line.chars().count() <= 40).then_some(()));
    session.tmux(&["resize-window", "-t", "w", "-x", "100", "-y", "50"]);
    session.tmux(&["send-keys", "-t", "w", "q"]);
    let end = until(|| Some(session.screen()).filter(|screen| screen.iter().any(|line| line.contains("ended with 1"))));
    assert!(end.iter().any(|line| line.starts_with("snapshots: soak")), "the report is on the usual screen: {end:#?}");
}

/// A terminal. Its two ends: ours, which is read slowly, and the program's.
fn terminal(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: the numbers are valid for writing, null is allowed for the rest, and both ends are owned here alone.
    unsafe {
        let failed =
            libc::openpty(&raw mut ours, &raw mut theirs, std::ptr::null_mut(), std::ptr::null(), &raw const size);
        assert_eq!(failed, 0);
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

fn over_a_slow_line() {
    let place = Place::new();
    let program = place.program("leak");
    let (ours, theirs) = terminal(80, 24);
    let mut command = place.command();
    command.args(["watch", "--every", "200ms", "--out", "soak", "--pid", &program.pid().to_string()]);
    command.env("TERM", "xterm-256color").stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(Stdio::null());
    let mut watcher = command.spawn().unwrap();
    drop(command);
    let mut line = std::fs::File::from(ours);
    let mut keyboard = line.try_clone().unwrap();
    let mut read = 0;
    let began = Instant::now();
    let mut chunk = [0; 100];
    while began.elapsed() < Duration::from_secs(12) {
        read += line.read(&mut chunk).unwrap();
        std::thread::sleep(Duration::from_millis(25));
    }
    // It goes on while its terminal is slow, and what it writes keeps up: a key is answered at once.
    assert!(crate::watcher::snapshots_in(&place.join("soak")) >= 20, "it samples on");
    // A whole screen is some 3 kB, and 60 samples are shown: 48 kB could be read in this time.
    assert!(read < 30_000, "the whole screen is not written again and again: {read} bytes");
    keyboard.write_all(b"q").unwrap();
    let asked = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        // The end of the other side is an error here.
        let _ = line.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    });
    let ended = until(|| watcher.try_wait().unwrap());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(matches!(ended.code(), Some(0 | 1)), "{ended}");
    let rest = reader.join().unwrap();
    assert!(rest.contains("snapshots: soak"), "{rest}");
}
