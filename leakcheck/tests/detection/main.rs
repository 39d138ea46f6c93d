//! Judges the judge, from outside: a program is simulated block by block (`world`), with one site that behaves in a
//! known way (`shapes`: leaking and clean kinds) among some thirty clean ones, and what `judge` says of its snapshots is
//! compared with the truth (`table`). `soak_gates` has eight published failures of home-made gates, `properties` what must
//! hold for any series, `baselines` what must hold of one judged against another, `kernel_only` what the kernel's figures
//! alone can tell.
//!
//! Seeds are fixed: the outcome is the same in each run. A wider sweep, with the whole table printed:
//!
//! ```sh
//! LEAKCHECK_CORPUS_SEEDS=10 cargo test --release -p leakcheck --test detection corpus -- --nocapture
//! ```
//!
//! `tools` prints the power curve, the calibration and the time that many sites take (`LEAKCHECK_TOOLS=1`).
//!
//! Rows are kinds; columns are rate (1, 1/20, 1/200) · snapshots (8, 15, 30, 60, 200), by mode. With
//! `LEAKCHECK_CORPUS_VERBOSE=1` each wrong answer is printed with its evidence; `LEAKCHECK_CORPUS_KIND=name` keeps to the
//! kinds whose names contain `name`. Kinds held out appear in totals alone.

#![expect(unreachable_pub, reason = "shared within one test program")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod baselines;
mod kernel_only;
mod properties;
mod shapes;
mod soak_gates;
mod table;
mod tools;
mod world;

use shapes::{Kind, Set};
use table::{LENGTHS, MODES, RATES, Table};

/// Snapshots that a run needs for the floors to apply: places in [`LENGTHS`].
const LONG_ENOUGH: [usize; 2] = [2, 3];

/// Found at the guilty site, at each rate, in exact mode.
const FOUND_EXACT: [f64; 3] = [0.93, 0.82, 0.50];
/// The same in sampled mode.
const FOUND_SAMPLED: [f64; 3] = [0.86, 0.66, 0.10];
/// Share of leaks called bounded, at most.
const MISSED_BOUNDED: f64 = 0.06;

/// Seeds of the wide sweep, when one is wanted.
fn sweep() -> Option<u64> {
    std::env::var("LEAKCHECK_CORPUS_SEEDS").ok()?.parse().ok()
}

fn corpus(leaking: bool, set: Set) -> Table {
    let chosen = std::env::var("LEAKCHECK_CORPUS_KIND").unwrap_or_default();
    let wanted = |kind: &&Kind| kind.set == set && kind.name.contains(&chosen);
    let kinds: Vec<&'static Kind> = shapes::all(leaking).into_iter().filter(wanted).collect();
    let modes: Vec<usize> = (0..MODES.len()).collect();
    let Some(seeds) = sweep() else { return Table::of(&kinds, &modes, &LONG_ENOUGH, 1) };
    let lengths: Vec<usize> = (0..LENGTHS.len()).collect();
    let table = Table::of(&kinds, &modes, &lengths, seeds);
    if set == Set::Development {
        println!("{}", table.print(&kinds, &modes, &lengths));
    }
    println!("{set:?}, {} kinds, leaking: {leaking}\n{}", kinds.len(), table.print_totals(leaking));
    table
}

fn leaks_are_found(set: Set) {
    let table = corpus(true, set);
    let long_enough = |length| LONG_ENOUGH.contains(&length);
    for (mode, floors) in [FOUND_EXACT, FOUND_SAMPLED].into_iter().enumerate() {
        for (rate, floor) in floors.into_iter().enumerate() {
            let tally = table.sum(|_, r, m, length| (r, m) == (rate, mode) && long_enough(length));
            println!("mode {mode} rate {:.3}: {tally:?} {:.3}", RATES[rate], tally.found_share());
            assert!(tally.found_share() >= floor, "mode {mode} rate {rate}: {tally:?}\n{}", table.wrong());
        }
    }
    let all = table.sum(|_, _, _, length| long_enough(length));
    let share = all.missed_bounded as f64 / all.cases.max(1) as f64;
    assert!(share <= MISSED_BOUNDED, "{share:.3}\n{}", table.wrong());
    assert_eq!(all.accused, 0, "{}", table.wrong());
}

fn clean_ones_raise_no_alarm(set: Set) {
    let table = corpus(false, set);
    let all = table.sum(|_, _, _, length| LONG_ENOUGH.contains(&length));
    println!("{all:?}");
    assert_eq!(all.accused, 0, "{}", table.wrong());
}

#[test]
fn corpus_of_leaks_is_found() {
    leaks_are_found(Set::Development);
}

#[test]
fn corpus_of_clean_programs_raises_no_alarm() {
    clean_ones_raise_no_alarm(Set::Development);
}

#[test]
fn corpus_held_out_leaks_are_found() {
    leaks_are_found(Set::HeldOut);
}

#[test]
fn corpus_held_out_clean_programs_raise_no_alarm() {
    clean_ones_raise_no_alarm(Set::HeldOut);
}
