//! Programs that nobody here wrote, and processes that cannot be watched.

use crate::Test;
use crate::watcher::{Place, Program, until};
use std::process::Command;

pub(crate) const TESTS: &[Test] = tests![
    python_that_leaks,
    redis_at_rest,
    what_is_not_there_is_said,
    a_zombie_is_told_from_a_process,
    two_hundred_processes,
    another_users_process,
];

/// The program, started, unless it is not installed here: then the test says so and is over. Where `LEAKCHECK_TEST_PROGRAMS`
/// is `required`, it fails.
pub(crate) fn foreign(place: &Place, program: &str, arguments: &[&str]) -> Option<Program> {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        assert!(std::env::var("LEAKCHECK_TEST_PROGRAMS").is_err(), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    Some(place.start(command))
}

fn python_that_leaks() {
    let place = Place::new();
    let script = "import time\nkept = []\nwhile True:\n    kept.append(bytearray(20000))\n    time.sleep(0.005)\n";
    std::fs::write(place.join("hoard.py"), script).unwrap();
    let Some(program) = foreign(&place, "/usr/bin/python3", &["hoard.py"]) else { return };
    let said = place.watch(&format!("--pid {} --for 16s --every 200ms --out soak", program.pid()));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.starts_with("leaking: "), "{}", said.stdout);
    assert!(said.stdout.contains("hoard.py"), "{}", said.stdout);
    assert!(said.stderr.contains("no recorder"), "{}", said.stderr);
    let checked = place.leakcheck(["check", "soak"]);
    assert_eq!((checked.code, checked.stdout.lines().next()), (1, said.stdout.lines().next()));
    let (first, last) = ends(&place, program.pid());
    let diff = place.leakcheck(["diff", &first, &last]);
    assert_eq!(diff.code, 0, "{diff:?}");
}

/// The first and the last snapshot of a process.
fn ends(place: &Place, pid: u32) -> (String, String) {
    let mut names: Vec<String> = std::fs::read_dir(place.join("soak"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|name| name.contains(&format!("leakcheck-{pid}-")))
        .collect();
    names.sort();
    (names.first().unwrap().clone(), names.last().unwrap().clone())
}

fn redis_at_rest() {
    let place = Place::new();
    let socket = place.join("redis.sock");
    let Some(program) =
        foreign(&place, "redis-server", &["--port", "0", "--unixsocket", socket.to_str().unwrap(), "--save", ""])
    else {
        return;
    };
    until(|| socket.exists().then_some(()));
    let said = place.watch(&format!("--pid {} --until-verdict --for 60s --every 200ms --out soak", program.pid()));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("redis-server"), "{}", said.stdout);
    assert!(!said.stdout.contains("inconclusive"), "{}", said.stdout);
}

fn what_is_not_there_is_said() {
    let place = Place::new();
    for (options, expected) in [
        ("--pid 4194304", "watch pid 4194304: there is no such process"),
        ("--pid 2", "a thread of the kernel"),
        ("--for 1s", "--pid"),
        ("--pid 1 --every 1ms", "10ms"),
        ("--pid 1 --mode psychic", "psychic"),
    ] {
        let said = place.watch(options);
        // In a container pid 2 may be anything.
        if options == "--pid 2" && !said.stderr.contains(expected) {
            continue;
        }
        assert_eq!(said.code, 2, "{options}: {said:?}");
        assert!(said.stderr.contains(expected), "{options}: {}", said.stderr);
    }
    let said = place.watch("--name surely-no-such-program --for 1s");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("no process is called surely-no-such-program yet"), "{}", said.stderr);
    assert!(!place.join("leakcheck-out").join("watch").exists());
}

fn a_zombie_is_told_from_a_process() {
    let place = Place::new();
    let mut child = Command::new("true").spawn().unwrap();
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.contains(") Z ").then_some(())
    });
    let said = place.watch(&format!("--pid {}", child.id()));
    child.wait().unwrap();
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("a zombie"), "{}", said.stderr);
}

fn two_hundred_processes() {
    let place = Place::new();
    // The children go with the shell, whatever becomes of the test.
    let script = "trap 'kill $(jobs -p)' EXIT TERM; for n in $(seq 200); do sleep 100 & done; wait";
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let shell = place.start(command);
    let children = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.pid())).unwrap_or_default();
    until(|| (children().split_whitespace().count() == 200).then_some(()));
    let said = place.watch(&format!("--pid {} --children --for 6s --every 500ms --out soak --top 3", shell.pid()));
    let sleeping = children();
    for pid in sleeping.split_whitespace() {
        let _ = Command::new("kill").arg(pid).status();
    }
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(crate::watcher::snapshots_in(&place.join("soak")) > 200 * 5);
}

/// As root we can be somebody else, and look at a process of root's.
fn another_users_process() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    let place = Place::new();
    let program = place.program("clean");
    let theirs = std::env::temp_dir().join(format!("lc-theirs-{}", std::process::id()));
    std::fs::create_dir_all(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(65_534), Some(65_534)).unwrap();
    // Where the build is, others may not be let in.
    let binary = theirs.join("leakcheck");
    std::fs::copy(env!("CARGO_BIN_EXE_leakcheck"), &binary).unwrap();
    let output = {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&binary);
        command.current_dir(&theirs).uid(65_534).gid(65_534);
        command.args(["watch", "--pid", &program.pid().to_string(), "--for", "2s", "--every", "200ms"]);
        crate::watcher::Said::from(command.output().unwrap())
    };
    std::fs::remove_dir_all(&theirs).unwrap();
    assert!(output.stderr.contains("belongs to another user"), "{}", output.stderr);
    assert!(output.stderr.contains("as that user, or as root"), "{}", output.stderr);
    assert_eq!(output.code, 0, "what is open to all is watched: {output:?}");
}
