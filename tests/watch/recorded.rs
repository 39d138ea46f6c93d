//! Programs with the recorder in them, dormant until they are watched.

use crate::Test;
use crate::watcher::{Place, snapshots_in, until};
use leakcheck::control::{self, Activity, Line, Reply};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

pub(crate) const TESTS: &[Test] = &[
    ("a_leak_is_found_where_it_is", a_leak_is_found_where_it_is),
    ("a_clean_program_is_not_accused", a_clean_program_is_not_accused),
    ("a_killed_watcher_leaves_all_as_it_was", a_killed_watcher_leaves_all_as_it_was),
    ("a_program_that_becomes_another_is_two", a_program_that_becomes_another_is_two),
    ("a_program_that_ends_is_reported", a_program_that_ends_is_reported),
    ("each_sample_is_a_line_for_programs", each_sample_is_a_line_for_programs),
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
