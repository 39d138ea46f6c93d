//! A server that forks its workers, as many do: the sick one among them, all of them, and one that is restarted.

use crate::Test;
use crate::watcher::{Place, until};
use std::process::Command;

pub(crate) const TESTS: &[Test] =
    tests![the_one_that_leaks_is_named, all_leak, restarts_hide_a_leak, a_process_that_is_started_again_is_followed,];

fn the_one_that_leaks_is_named() {
    let place = Place::new();
    let program = place.program("prefork:one");
    let said =
        place.watch(&format!("--pid {} --children --for 16s --every 250ms --mode exact --out soak", program.pid()));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("1 of 4"), "{}", said.stdout);
    assert!(said.stdout.contains("keep_session"), "forked workers are woken too: {}", said.stdout);
}

fn all_leak() {
    let place = Place::new();
    let program = place.program("prefork:all");
    let said =
        place.watch(&format!("--pid {} --children --for 16s --every 250ms --mode exact --out soak", program.pid()));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("all 4"), "{}", said.stdout);
}

fn restarts_hide_a_leak() {
    let place = Place::new();
    let program = place.program("prefork:one,2000");
    let said =
        place.watch(&format!("--pid {} --children --for 28s --every 200ms --mode exact --out soak", program.pid()));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("the restarts hide a leak"), "{}", said.stdout);
}

/// A shell as the supervisor; the watcher was told of one process only.
fn a_process_that_is_started_again_is_followed() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command.args(["-c", "while :; do \"$PROGRAM\"; sleep 0.1; done"]);
    command.env("PROGRAM", std::env::current_exe().unwrap()).env("WATCHED", "short").env_remove("LEAKCHECK");
    let shell = place.start(command);
    let children = format!("/proc/{0}/task/{0}/children", shell.pid());
    let pid = until(|| std::fs::read_to_string(&children).ok()?.trim().parse::<u32>().ok());
    let said = place.watch(&format!("--pid {pid} --for 22s --every 200ms --mode exact --out soak"));
    drop(shell);
    assert!(said.stderr.matches("is watched").count() >= 3, "{}", said.stderr);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("the restarts hide a leak"), "{}", said.stdout);
}
