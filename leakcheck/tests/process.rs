//! Recording by environment, and what becomes of the snapshot files when a process ends in every way there is.
//!
//! Each test runs this very program again with `CHILD` naming what the child is to do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use leakcheck::format;
use leakcheck::model::{Mode, Reason, Snapshot};
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leakcheck-process-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().map(|path| format::read(path).unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn child(what: &str, out: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_entry", "--exact", "--nocapture", "--test-threads=1"]);
    command.env("CHILD", what).env("LEAKCHECK", "exact").env("LEAKCHECK_OUT", out);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

#[inline(never)]
fn kept_by_the_child() -> Vec<u8> {
    black_box(vec![7_u8; black_box(4321)])
}

/// What the child does; a test that does nothing when it is not one.
#[test]
fn child_entry() {
    let Ok(what) = std::env::var("CHILD") else { return };
    let kept = kept_by_the_child();
    match what.as_str() {
        "return" => {}
        "exit" => std::process::exit(7),
        "panic" => panic!("as asked"),
        "abort" => {
            leakcheck::snapshot().unwrap();
            std::process::abort();
        }
        "checkpoint" => {
            leakcheck::iteration();
            leakcheck::iteration();
            leakcheck::checkpoint("after warm-up");
        }
        "spin" => {
            let mut all = Vec::new();
            loop {
                all.push(kept_by_the_child());
                thread::sleep(Duration::from_millis(1));
            }
        }
        "small files" => {
            leakcheck::checkpoint("before the limit");
            let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
            // SAFETY: both calls only change what this process may do.
            unsafe {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
            }
            assert!(leakcheck::snapshot().is_err_and(|error| error.is_io()));
        }
        "folder gone" => {
            let folder = std::env::var("LEAKCHECK_OUT").unwrap();
            fs::remove_dir_all(&folder).unwrap();
            assert!(leakcheck::snapshot().is_err_and(|error| error.is_io()));
            fs::create_dir_all(&folder).unwrap();
            assert_eq!(leakcheck::snapshot().unwrap().losses.snapshots_failed, 1);
        }
        "prints" => println!("the program's own output"),
        other => panic!("unknown child {other}"),
    }
    drop(kept);
}

fn live_of_child(snapshot: &Snapshot) -> u64 {
    let ours = |site: &&leakcheck::model::Site| {
        snapshot.frames_of(site).flat_map(|frame| &frame.functions).any(|f| f.name.contains("kept_by_the_child"))
    };
    snapshot.sites.iter().filter(ours).map(|site| site.counters.live().bytes).sum()
}

#[test]
fn the_last_snapshot_is_written_however_the_program_ends() {
    for (what, code) in [("return", Some(0)), ("exit", Some(7)), ("panic", Some(101))] {
        let folder = Folder::new(what);
        let output = run(child(what, &folder.0).env("LEAKCHECK_EVERY", "0"));
        assert_eq!(output.status.code(), code, "{}", String::from_utf8_lossy(&output.stderr));
        let snapshots = folder.snapshots();
        assert_eq!(snapshots.len(), 1, "{what}");
        assert_eq!(snapshots[0].reason, Reason::Exit);
        // `process::exit` runs no destructors: the block is still there.
        assert_eq!(live_of_child(&snapshots[0]) >= 4321, what == "exit", "{what}");
    }
}

#[test]
fn an_abort_leaves_what_was_written_before() {
    let folder = Folder::new("abort");
    let output = run(child("abort", &folder.0).env("LEAKCHECK_EVERY", "0"));
    assert_eq!(output.status.code(), None);
    let snapshots = folder.snapshots();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0].reason, Reason::Request);
    assert_eq!(live_of_child(&snapshots[0]), 4321);
}

#[test]
fn checkpoints_and_iterations_are_in_the_file() {
    let folder = Folder::new("checkpoint");
    assert!(run(child("checkpoint", &folder.0).env("LEAKCHECK_EVERY", "0")).status.success());
    let snapshots = folder.snapshots();
    assert_eq!(snapshots[0].reason, Reason::Checkpoint);
    assert_eq!(snapshots[0].label.as_deref(), Some("after warm-up"));
    assert_eq!(snapshots[0].iterations, 2);
    assert_eq!(snapshots[0].recording.mode, Mode::Exact);
    assert_eq!(snapshots[1].reason, Reason::Exit);
}

#[test]
fn a_kill_at_any_moment_leaves_only_whole_files() {
    for round in 0..12_u64 {
        let folder = Folder::new(&format!("kill-{round}"));
        let mut process = child("spin", &folder.0).env("LEAKCHECK_EVERY", "1ms").spawn().unwrap();
        // Until it writes; then a different number of files each time.
        while fs::read_dir(&folder.0).map_or(0, Iterator::count) < 2 + (round as usize * 7) % 40 {
            assert!(process.try_wait().unwrap().is_none(), "the child ended");
            thread::yield_now();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // Reading fails on anything that is not whole.
        let snapshots = folder.snapshots();
        assert!(!snapshots.is_empty());
        let sequence: Vec<u64> = snapshots.iter().map(|snapshot| snapshot.sequence).collect();
        assert_eq!(sequence, (0..sequence.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_disk_is_told_once_and_the_program_goes_on() {
    let folder = Folder::new("full");
    let output = run(child("small files", &folder.0).env("LEAKCHECK_EVERY", "0"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.matches("leakcheck: failed to write").count(), 1, "{errors}");
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(folder.snapshots()[0].label.as_deref(), Some("before the limit"));
}

#[test]
fn a_folder_that_goes_away_and_comes_back_loses_one_snapshot() {
    let folder = Folder::new("gone");
    let output = run(child("folder gone", &folder.0).env("LEAKCHECK_EVERY", "0"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folder.snapshots().len(), 2);
}

#[test]
fn a_wrong_environment_is_one_line_and_the_program_runs_unrecorded() {
    for (name, value, expected) in [
        ("LEAKCHECK", "exakt", "LEAKCHECK=exakt: expected exact"),
        ("LEAKCHECK_EVERY", "soon", "LEAKCHECK_EVERY=soon: expected a time"),
        ("LEAKCHECK_OUT", "/dev/null/x", "cannot write snapshots to /dev/null/x"),
    ] {
        let folder = Folder::new("wrong");
        let output = run(child("prints", &folder.0).env(name, value));
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        assert!(printed.contains("the program's own output"));
        assert!(errors.contains(&format!("leakcheck: failed to record: {expected}")), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(!folder.0.exists());
    }
}

#[test]
fn sampling_is_chosen_by_environment() {
    let folder = Folder::new("sampled");
    assert!(run(child("return", &folder.0).env("LEAKCHECK", "sampled:4KiB")).status.success());
    let snapshots = folder.snapshots();
    assert_eq!(snapshots[0].recording.mode, Mode::Sampled { interval_bytes: 4096 });
}
