//! Programs with the recorder in them, dormant until they are watched.

use crate::Test;
use crate::watcher::{Place, Program, snapshots_in, until};
use leakcheck::control::{self, Activity, Line, Reply};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = tests![
    a_leak_is_found_where_it_is,
    a_clean_program_is_not_accused,
    a_killed_watcher_leaves_all_as_it_was,
    a_program_that_becomes_another_is_two,
    a_program_that_ends_is_reported,
    each_sample_is_a_line_for_programs,
    names_are_looked_up_where_the_files_are,
    in_another_container,
    a_stopped_program_holds_nobody_up,
    a_program_that_stops_at_any_moment_is_woken_again,
    a_reused_pid_is_another_process,
    a_reader_that_has_seen_enough_ends_it,
    what_lies_in_the_place_of_sockets_holds_nobody_up,
    a_snapshot_before_memory_runs_out,
];

fn a_leak_is_found_where_it_is() {
    let place = Place::new();
    let program = place.program("leak");
    let options = format!("--pid {} --for 14s --every 200ms --mode exact --out soak", program.pid());
    let said = place.watch(&options);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.starts_with("leaking: "), "{}", said.stdout);
    assert!(said.stdout.contains("keep_session"), "{}", said.stdout);
    assert!(said.stderr.contains("its recorder was woken"), "{}", said.stderr);
    assert!(std::fs::read(place.join("soak/heap.png")).unwrap().starts_with(b"\x89PNG"));
    // The series is like any other.
    let checked = place.leakcheck(["check", "soak"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert_eq!(checked.stdout.lines().next(), said.stdout.lines().next(), "the same verdict in the same words");
    assert_eq!(place.leakcheck(["plot", "soak", "-o", "again.png"]).code, 0);
    assert_eq!(asleep(&place, program.pid()), Activity::Dormant);
}

fn a_clean_program_is_not_accused() {
    let place = Place::new();
    let program = place.program("clean");
    let said = place
        .watch(&format!("--pid {} --until-verdict --for 60s --every 200ms --mode exact --out soak", program.pid()));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("nothing leaks: "), "{}", said.stdout);
}

/// What the recorder of a process does.
fn asleep(place: &Place, pid: u32) -> Activity {
    let entries = std::fs::read_dir(place.join(control::FOLDER)).unwrap();
    let socket = entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{pid}-")))
        .unwrap();
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    stream.get_mut().write_all(b"{\"leakcheck\":1,\"request\":\"state\"}\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    match serde_json::from_str::<Line<Reply>>(&line).unwrap().body {
        Reply::State(state) => state.activity,
        other => panic!("{other:?}"),
    }
}

fn a_killed_watcher_leaves_all_as_it_was() {
    let place = Place::new();
    let mut program = place.program("leak");
    for moment in [1, 4, 9] {
        let out = place.join(&format!("soak-{moment}"));
        let mut command = place.command();
        command.args(["watch", "--every", "50ms", "--mode", "exact", "--pid", &program.pid().to_string(), "--out"]);
        let mut watcher = command.arg(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(|| (snapshots_in(&out) >= moment).then_some(()));
        watcher.kill().unwrap();
        watcher.wait().unwrap();
        until(|| (asleep(&place, program.pid()) == Activity::Dormant).then_some(()));
        assert!(program.is_running());
        let checked = place.leakcheck(["check".as_ref(), out.as_os_str()]);
        assert!((0..=1).contains(&checked.code), "the series is readable: {checked:?}");
    }
}

fn a_program_that_becomes_another_is_two() {
    let place = Place::new();
    let program = place.program("exec");
    let said = place.watch(&format!("--pid {} --for 12s --every 200ms --mode exact --out soak", program.pid()));
    assert!(said.stderr.contains("became sleep"), "{}", said.stderr);
    assert!(said.stdout.contains("sleep, pid"), "{}", said.stdout);
    assert!(said.stdout.contains("keep_session"), "what was found before stays: {}", said.stdout);
}

fn a_program_that_ends_is_reported() {
    let place = Place::new();
    let program = place.program("brief");
    let said = place.watch(&format!("--pid {} --every 200ms --mode exact --out soak", program.pid()));
    assert!(said.stderr.contains(" ended\n"), "{}", said.stderr);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("keep_session"), "{}", said.stdout);
}

fn each_sample_is_a_line_for_programs() {
    let place = Place::new();
    let program = place.program("leak");
    let options = format!("--pid {} --for 3s --every 200ms --format json --quiet --out soak", program.pid());
    let said = place.watch(&options);
    assert_eq!(said.stderr, "", "quiet");
    let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schema: Value = serde_json::from_str(include_str!("../../docs/watch.schema.json")).unwrap();
    let validator = jsonschema::options().build(&schema).unwrap();
    for line in &lines {
        assert!(
            validator.is_valid(line),
            "{:?}: {line}",
            validator.iter_errors(line).map(|e| e.to_string()).collect::<Vec<_>>()
        );
    }
    let (report, samples) = lines.split_last().unwrap();
    assert!(samples.len() >= 8, "{}", samples.len());
    assert!(samples.iter().all(|line| line["kind"] == "sample" && line["pid"] == program.pid()));
    assert_eq!(report["kind"], "report");
    assert_eq!(report["report"]["processes"][0]["pid"], program.pid());
}

/// The process in namespaces of its own: it has another pid there, and its runtime directory is a file system we do not see.
fn in_another_container() {
    let place = Place::new();
    std::fs::create_dir(place.join("run")).unwrap();
    let inner = "mount -t tmpfs none \"$XDG_RUNTIME_DIR\" && exec \"$PROGRAM\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner]);
    command.env("PROGRAM", std::env::current_exe().unwrap()).env("WATCHED", "leak").env_remove("LEAKCHECK");
    command.current_dir(place.path()).env("XDG_RUNTIME_DIR", place.join("run"));
    let container = Program(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut container = container;
    let children = format!("/proc/{0}/task/{0}/children", container.pid());
    let pid = until(|| {
        if !container.is_running() {
            let mut why = String::new();
            container.0.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            return Some(Err(why));
        }
        let child: u32 = std::fs::read_to_string(&children).ok()?.trim().parse().ok()?;
        let runs = std::fs::read_link(format!("/proc/{child}/exe")).ok()? == std::env::current_exe().unwrap();
        runs.then_some(Ok(child))
    });
    let pid = match pid {
        Ok(pid) => pid,
        Err(why) => {
            eprintln!("skipped: no namespaces here: {why}");
            return;
        }
    };
    let said = place.watch(&format!("--pid {pid} --for 8s --every 200ms --mode exact --out soak"));
    assert!(said.stderr.contains("its recorder was woken"), "{}", said.stderr);
    assert!(said.stdout.contains("keep_session"), "{}", said.stdout);
    assert!(said.stdout.contains(&format!("pid {pid}")), "the pid as we know it: {}", said.stdout);
    assert_eq!(std::fs::read_dir(place.join("run")).unwrap().count(), 0, "we do not see its files");
}

/// A control group with a limit, where we may make one.
struct Group(PathBuf);

impl Group {
    fn with_limit(bytes: u64) -> Option<Self> {
        let name = format!("leakcheck-{}", std::process::id());
        let (v1, v2) = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup");
        let made = |root: &str, limit: &str| {
            let folder = Path::new(root).join(&name);
            std::fs::create_dir(&folder).ok()?;
            let group = Self(folder);
            std::fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        };
        made(v1, "memory.limit_in_bytes").or_else(|| made(v2, "memory.max"))
    }

    /// This program, in the group from its first moment on.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$GROUP\"/cgroup.procs && exec \"$PROGRAM\""]);
        command.env("GROUP", &self.0).env("PROGRAM", std::env::current_exe().unwrap());
        command.env("WATCHED", name).env_remove("LEAKCHECK");
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        until(|| (std::fs::remove_dir(&self.0).is_ok() || !self.0.exists()).then_some(()));
    }
}

fn a_snapshot_before_memory_runs_out() {
    let Some(group) = Group::with_limit(40 << 20) else {
        eprintln!("skipped: control groups cannot be made here");
        return;
    };
    let place = Place::new();
    // By the recorder alone, without a watcher: it ends by being killed.
    let out = place.join("alone");
    let mut command = group.program("leak fast");
    command.env("LEAKCHECK", "exact").env("LEAKCHECK_OUT", &out).env("LEAKCHECK_EVERY", "1h");
    let mut alone = place.start(command);
    let last = label_of_last(&out);
    assert!(last.starts_with("memory at 9") && last.contains("of the limit of 40 MiB"), "{last}");
    until(|| (!alone.is_running()).then_some(()));
    // And by a watcher.
    let watched = place.start(group.program("leak fast"));
    let said = place.watch(&format!("--pid {} --every 100ms --mode exact --out soak", watched.pid()));
    assert!(said.stderr.contains("of the limit of 40 MiB; a snapshot is taken"), "{}", said.stderr);
    assert!(said.stdout.contains("keep_session"), "{}", said.stdout);
}

/// The name of the last named snapshot in a folder, once there is one.
fn label_of_last(folder: &Path) -> String {
    until(|| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().rev().find_map(|path| leakcheck::format::read(path).ok()?.label)
    })
}

fn names_are_looked_up_where_the_files_are() {
    let place = Place::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("WATCHED", "brief").env("LEAKCHECK", "exact").env("LEAKCHECK_NAMES", "no");
    command.env("LEAKCHECK_OUT", place.join("soak")).env("LEAKCHECK_EVERY", "200ms");
    let mut program = place.start(command);
    until(|| (!program.is_running()).then_some(()));
    let checked = place.leakcheck(["check", "soak"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.stdout.contains("watch::programs::keep_session  tests/watch/programs.rs:"), "{}", checked.stdout);
}

fn a_stopped_program_holds_nobody_up() {
    let place = Place::new();
    let (stopped, other) = (place.program("leak"), place.program("leak"));
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &stopped.pid().to_string()]).status().unwrap().success());
    };
    let options =
        format!("--pid {} --pid {} --for 9s --every 200ms --mode exact --out soak", stopped.pid(), other.pid());
    let began = Instant::now();
    let watcher = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| place.watch(&options));
        until(|| (snapshots_in(&place.join("soak")) >= 6).then_some(()));
        signal("-STOP");
        watcher.join().unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(25), "it waits for nobody: {:?}", began.elapsed());
    assert!(watcher.stdout.starts_with("leaking: "), "{watcher:?}");
    let state = std::fs::read_to_string(format!("/proc/{}/stat", stopped.pid())).unwrap();
    assert!(state.contains(") T "), "it is left as it was: {state}");
    signal("-CONT");
    until(|| (asleep(&place, stopped.pid()) == Activity::Dormant).then_some(()));
}

/// Stopped again and again, and so at times while a snapshot is under way.
fn a_program_that_stops_at_any_moment_is_woken_again() {
    let place = Place::new();
    let program = place.program("leak");
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &program.pid().to_string()]).status().unwrap().success());
    };
    let options = format!("--pid {} --for 12s --every 50ms --mode exact --out soak", program.pid());
    let began = Instant::now();
    let watcher = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| place.watch(&options));
        until(|| (snapshots_in(&place.join("soak")) >= 2).then_some(()));
        for _ in 0..20 {
            signal("-STOP");
            std::thread::sleep(Duration::from_millis(37));
            signal("-CONT");
            std::thread::sleep(Duration::from_millis(61));
        }
        watcher.join().unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(watcher.code, 1, "{watcher:?}");
    assert!(watcher.stdout.contains("keep_session"), "{}", watcher.stdout);
}

fn a_reused_pid_is_another_process() {
    let place = Place::new();
    let mut program = place.program("clean");
    let pid = program.pid();
    let again = |pid: u32| {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        Command::new("sleep").arg("600").spawn().ok()
    };
    if std::fs::write("/proc/sys/kernel/ns_last_pid", pid.to_string()).is_err() {
        eprintln!("skipped: pids cannot be chosen here");
        return;
    }
    let said = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| place.watch(&format!("--pid {pid} --every 100ms --mode exact --out soak")));
        until(|| (snapshots_in(&place.join("soak")) >= 10).then_some(()));
        program.0.kill().unwrap();
        program.0.wait().unwrap();
        // Other processes of this machine may take it first, and end again.
        let mut heir = until(|| {
            let mut child = again(pid).unwrap();
            if child.id() == pid {
                return Some(child);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            None
        });
        let said = watcher.join().unwrap();
        heir.kill().unwrap();
        heir.wait().unwrap();
        said
    });
    assert!(said.stderr.contains(&format!("(pid {pid}) ended")), "{}", said.stderr);
    assert!(!said.stdout.contains("sleep"), "{}", said.stdout);
}

fn a_reader_that_has_seen_enough_ends_it() {
    let place = Place::new();
    let program = place.program("clean");
    let mut command = place.command();
    command.args(["watch", "--every", "50ms", "--format", "json", "--quiet", "--pid", &program.pid().to_string()]);
    let mut watcher = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(watcher.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"kind\":\"sample\""), "{line}");
    drop(reader);
    let ended = until(|| watcher.try_wait().unwrap());
    assert!(matches!(ended.code(), Some(0..=1)), "{ended}");
}

fn what_lies_in_the_place_of_sockets_holds_nobody_up() {
    let place = Place::new();
    let mut command = Command::new("sleep");
    command.arg("100");
    let program = place.start(command);
    assert!(Command::new("mkfifo").arg(place.join(control::FOLDER)).status().unwrap().success());
    let began = Instant::now();
    let said = place.watch(&format!("--pid {} --for 500ms --every 100ms --quiet", program.pid()));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
