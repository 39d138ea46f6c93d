//! `leakcheck run`, with shells in the place of programs: a recording one copies snapshots that were prepared.

use crate::command::{Folder, Said, command, leakcheck};
use crate::recorded::Recorded;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

/// Runs a script, with the options before it.
fn run(folder: &Folder, options: &str, script: &str) -> Said {
    let options = options.split_whitespace();
    leakcheck(folder, ["run"].into_iter().chain(options).chain(["--", "sh", "-c", script]))
}

/// Snapshots that a script copies with [`RECORD`].
fn prepared(recorded: &Recorded) -> Folder {
    let folder = Folder::new();
    recorded.write(&folder.join("prepared"));
    folder
}

const RECORD: &str = "cp prepared/* \"$LEAKCHECK_OUT\"";

#[test]
fn a_program_that_records_is_judged_and_drawn() {
    let folder = prepared(&Recorded::leaking());
    let script = format!("echo from the program; {RECORD}; echo and its errors >&2");
    let said = run(&folder, "--out soak", &script);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.starts_with("from the program\nleaking: 3 sites, 1.16 MiB/s together; "), "{}", said.stdout);
    assert!(said.stdout.contains("heap over time: soak/heap.png\nsnapshots: soak\n"), "{}", said.stdout);
    assert_eq!(said.stderr, "and its errors\n");
    let picture = fs::read(folder.join("soak/heap.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert_eq!(fs::read_dir(folder.join("soak")).unwrap().count(), 61);
}

#[test]
fn the_recorder_is_told_what_was_asked_for() {
    let folder = Folder::new();
    let script = "cd /; echo \"$LEAKCHECK $LEAKCHECK_EVERY $LEAKCHECK_OUT\" >&2";
    let said = run(&folder, "--out soak --every 2s --mode sampled:128KiB", script);
    let expected =
        format!("sampled:128KiB 2000ms {}\n", fs::canonicalize(folder.path()).unwrap().join("soak").display());
    assert_eq!(said.stderr, expected);
}

#[test]
fn by_default_each_run_has_a_folder_of_its_own() {
    let folder = prepared(&Recorded::flat());
    for _ in 0..3 {
        assert_eq!(run(&folder, "", RECORD).code, 0);
    }
    let runs: Vec<_> = fs::read_dir(folder.join("leakcheck-out")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(runs.len(), 3);
    for run in runs {
        let name = run.file_name().into_string().unwrap();
        let time = name.strip_prefix("sh-").unwrap();
        assert!(time.len() >= 15 && time.starts_with("20") && time.as_bytes()[8] == b'-', "{name}");
        assert!(run.path().join("heap.png").exists());
    }
}

#[test]
fn with_json_standard_output_is_one_document() {
    let folder = prepared(&Recorded::leaking());
    let script = format!("echo from the program; {RECORD}");
    let said = run(&folder, "--out soak --format json", &script);
    assert_eq!(said.code, 1);
    assert_eq!(said.stderr, "from the program\n");
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["verdict"], "leaking");
    let expected = serde_json::json!({"folder": "soak", "chart": "soak/heap.png", "exit_code": 0, "recorded": true});
    assert_eq!(report["run"], expected);
    let markdown = run(&folder, "--out more --format markdown", &script);
    assert!(markdown.stdout.starts_with("**leaking: 3 sites, "), "{}", markdown.stdout);
}

#[test]
fn the_exit_code_of_a_program_that_fails_is_passed_on() {
    let folder = prepared(&Recorded::leaking());
    for (place, (end, code)) in
        [("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)].iter().enumerate()
    {
        let said = run(&folder, &format!("--out out{place}"), &format!("{RECORD}; {end}"));
        assert_eq!(said.code, *code, "{end}: {said:?}");
        assert!(said.stdout.starts_with("leaking: "), "it is judged all the same: {}", said.stdout);
        assert!(said.stderr.contains(&format!("{code}")) && said.stderr.contains("passed on"), "{}", said.stderr);
    }
}

#[test]
fn without_a_recorder_nothing_is_claimed() {
    let folder = Folder::new();
    let said = run(&folder, "--out soak --every 10ms", "sleep 0.3");
    assert_eq!(said.code, 0);
    let first = said.stdout.lines().next().unwrap();
    assert!(
        first.starts_with("inconclusive: the program has no recorder, so only what the kernel tells is known"),
        "{first}"
    );
    for text in
        ["no recorder; resident ", "note: the figures are the kernel's", "#[global_allocator]", "snapshots: none"]
    {
        assert!(said.stdout.contains(text), "{text} in {}", said.stdout);
    }
    assert!(folder.join("soak/heap.png").exists());
    let strict = run(&folder, "--out strict --strict --format json", "sleep 0.1");
    assert_eq!(strict.code, 3);
    let report: Value = serde_json::from_str(&strict.stdout).unwrap();
    assert_eq!(report["findings"], serde_json::json!([]));
    assert_eq!(report["run"]["recorded"], false);
    assert_eq!(report["processes"][0]["live_bytes"], Value::Null);
    assert!(report["processes"][0]["resident_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn children_that_record_into_the_same_folder_are_judged_too() {
    let folder = prepared(&Recorded::flat());
    Recorded { pid: 4712, executable: "/srv/child".into(), ..Recorded::leaking() }.write(&folder.join("prepared"));
    let said = run(&folder, "--out soak --format json", RECORD);
    assert_eq!(said.code, 1);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    let verdicts: Vec<_> = report["processes"].as_array().unwrap().iter().map(|process| &process["verdict"]).collect();
    assert_eq!(verdicts, ["bounded", "leaking"]);
}

#[test]
fn snapshots_of_earlier_runs_are_not_judged() {
    let folder = prepared(&Recorded { pid: 99, ..Recorded::flat() });
    Recorded::leaking().write(&folder.join("soak"));
    let said = run(&folder, "--out soak", RECORD);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.stderr,
        "leakcheck: note: soak holds 60 snapshots of earlier runs, which stay and are not judged\n"
    );
    assert!(said.stdout.starts_with("nothing leaks: 3 sites judged, 60 snapshots"), "{}", said.stdout);
}

#[test]
fn a_picture_that_is_there_stops_the_run_before_it_begins() {
    let folder = prepared(&Recorded::flat());
    fs::create_dir(folder.join("soak")).unwrap();
    fs::write(folder.join("soak/heap.png"), "mine").unwrap();
    let said = run(&folder, "--out soak", "touch was-run");
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("draw soak/heap.png: the file exists"), "{}", said.stderr);
    assert!(!folder.join("was-run").exists());
    assert_eq!(run(&folder, "--out soak --force", RECORD).code, 0);
    assert!(fs::read(folder.join("soak/heap.png")).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(run(&folder, "--out soak2 --png other.svg", RECORD).code, 0);
    assert!(fs::read_to_string(folder.join("other.svg")).unwrap().contains("shop: nothing leaks"));
    assert!(!folder.join("soak2/heap.png").exists());
}

#[test]
fn a_picture_that_cannot_be_written_does_not_cost_the_verdict() {
    let folder = prepared(&Recorded::leaking());
    std::os::unix::fs::symlink("/dev/full", folder.join("full.png")).unwrap();
    let said = run(&folder, "--out soak --png full.png --force", RECORD);
    assert_eq!(said.code, 2);
    assert!(said.stdout.starts_with("leaking: 3 sites"), "{}", said.stdout);
    assert!(said.stderr.contains("failed to write full.png: No space left on device"), "{}", said.stderr);
}

#[test]
fn a_program_that_cannot_be_started_leaves_nothing() {
    let folder = Folder::new();
    fs::write(folder.join("not-executable"), "").unwrap();
    for program in ["./missing", "./not-executable"] {
        let said = leakcheck(&folder, ["run", "--out", "soak", "--", program]);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""));
        assert!(said.stderr.starts_with(&format!("leakcheck: failed to run {program}: ")), "{}", said.stderr);
        assert_eq!(folder.names(), ["not-executable"]);
    }
}

#[test]
fn damaged_snapshots_are_named_and_stay() {
    let folder = prepared(&Recorded { snapshots: 3, ..Recorded::flat() });
    let script = format!("{RECORD}; echo '{{\"format\":' > \"$LEAKCHECK_OUT/leakcheck-4711-000001.json\"");
    let said = run(&folder, "--out soak", &script);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("failed to read soak/leakcheck-4711-000001.json: "), "{}", said.stderr);
    assert_eq!(fs::read_dir(folder.join("soak")).unwrap().count(), 3);
}

/// A run that is under way, with its program's first line read: from then on its signal handlers are in place.
struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(folder: &Folder, script: &str) -> Self {
        let mut child = command(folder)
            .args(["run", "--out", "soak", "--", "sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, stdout, stderr }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn next_error_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    fn end(mut self) -> Said {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        Said { code, stdout, stderr }
    }
}

#[test]
fn ctrl_c_ends_the_program_and_the_report_follows() {
    let folder = prepared(&Recorded::leaking());
    let script = format!("trap '{RECORD}; exit 0' INT; echo ready; while :; do sleep 0.02; done");
    let mut running = Running::start(&folder, &script);
    running.send(Signal::INT);
    let line = running.next_error_line();
    assert_eq!(line, "leakcheck: stopping the program; its report follows (once more kills it)\n");
    let said = running.end();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.starts_with("leaking: 3 sites"), "{}", said.stdout);
}

#[test]
fn a_program_that_dies_of_the_signal_passes_its_code_on() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let folder = prepared(&Recorded::leaking());
        let running = Running::start(&folder, &format!("{RECORD}; echo ready; exec sleep 1000"));
        running.send(signal);
        let said = running.end();
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.stdout.starts_with("leaking: 3 sites"), "{}", said.stdout);
    }
}

#[test]
fn a_program_that_will_not_stop_is_killed_at_the_second_ctrl_c() {
    let folder = prepared(&Recorded::leaking());
    // The shell gives way to a program that keeps ignoring both signals.
    let mut running = Running::start(&folder, &format!("trap '' INT TERM; {RECORD}; echo ready; exec sleep 1000"));
    running.send(Signal::INT);
    assert!(running.next_error_line().contains("once more kills it"));
    running.send(Signal::INT);
    assert_eq!(running.next_error_line(), "leakcheck: killing the program\n");
    let said = running.end();
    assert_eq!(said.code, 137, "{said:?}");
    assert!(said.stdout.starts_with("leaking: 3 sites"), "{}", said.stdout);
}
