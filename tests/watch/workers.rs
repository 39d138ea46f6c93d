//! A server that forks its workers, as many do: the sick one among them, all of them, and one that is restarted.

use crate::Test;
use crate::watcher::Place;

pub(crate) const TESTS: &[Test] = tests![the_one_that_leaks_is_named, all_leak, restarts_hide_a_leak,];

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
    let program = place.program("prefork:one,1500");
    let said =
        place.watch(&format!("--pid {} --children --for 24s --every 200ms --mode exact --out soak", program.pid()));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.contains("the restarts hide a leak"), "{}", said.stdout);
}
