//! `leakcheck watch` on running programs: with the recorder (this very program, run again), and as they come from others.
//!
//! The harness is `libtest_mimic`, because a child must be free to be a program with one thread.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The tests of a file, by the names of their functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

mod foreign;
mod live;
mod programs;
mod recorded;
#[path = "../it/said.rs"]
mod said;
mod watcher;
mod workers;

use libtest_mimic::{Arguments, Trial};

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

/// A test with its name.
pub(crate) type Test = (&'static str, fn());

fn main() {
    if let Ok(program) = std::env::var("WATCHED") {
        programs::run(&program);
        return;
    }
    let mut trials: Vec<Trial> = Vec::new();
    let groups: [(&str, &[Test]); 4] = [
        ("recorded", recorded::TESTS),
        ("workers", workers::TESTS),
        ("foreign", foreign::TESTS),
        ("live", live::TESTS),
    ];
    for (group, tests) in groups {
        for (name, test) in tests {
            trials.push(Trial::test(format!("{group}::{name}"), move || {
                test();
                Ok(())
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
