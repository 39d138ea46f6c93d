//! Judges the judge, from outside: a program is simulated block by block (`world`), with one site that behaves in a
//! known way (`shapes`: leaking and clean kinds) among some thirty clean ones, and what `judge` says of its snapshots is
//! compared with the truth (`table`). `soak_gates` has eight published failures of home-made gates, `properties` what must
//! hold for any series.
//!
//! Seeds are fixed: the outcome is the same in each run. A wider sweep, with the whole table printed:
//!
//! ```sh
//! LEAKCHECK_CORPUS_SEEDS=10 cargo test --release -p leakcheck --test detection corpus -- --nocapture
//! ```
//!
//! Rows are kinds; columns are rate (1, 1/20, 1/200) · snapshots (8, 15, 30, 60, 200), by mode. With
//! `LEAKCHECK_CORPUS_VERBOSE=1` each wrong answer is printed with its evidence; `LEAKCHECK_CORPUS_KIND=name` keeps to the
//! kinds whose names contain `name`.

#![expect(unreachable_pub, reason = "shared within one test program")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod properties;
mod shapes;
mod soak_gates;
mod table;
mod world;

use table::{LENGTHS, MODES, RATES, Table};

/// Snapshots that a run needs for the floors to apply: places in [`LENGTHS`].
const LONG_ENOUGH: [usize; 2] = [2, 3];

/// Found at the guilty site, at each rate, in exact mode.
const FOUND_EXACT: [f64; 3] = [0.90, 0.80, 0.62];
/// The same in sampled mode.
const FOUND_SAMPLED: [f64; 3] = [0.80, 0.68, 0.45];
/// Leaks called bounded, at most.
const MISSED_BOUNDED: usize = 19;

/// Seeds of the wide sweep, when one is wanted.
fn sweep() -> Option<u64> {
    std::env::var("LEAKCHECK_CORPUS_SEEDS").ok()?.parse().ok()
}

fn corpus(kinds: &'static [shapes::Kind]) -> Table {
    let chosen = std::env::var("LEAKCHECK_CORPUS_KIND").unwrap_or_default();
    let kinds: Vec<&'static shapes::Kind> = kinds.iter().filter(|kind| kind.name.contains(&chosen)).collect();
    let kinds = kinds.as_slice();
    let modes: Vec<usize> = (0..MODES.len()).collect();
    match sweep() {
        Some(seeds) => {
            let lengths: Vec<usize> = (0..LENGTHS.len()).collect();
            let table = Table::of(kinds, &modes, &lengths, seeds);
            println!("{}", table.print(kinds, &modes, &lengths));
            table
        }
        None => Table::of(kinds, &modes, &LONG_ENOUGH, 1),
    }
}

#[test]
fn corpus_of_leaks_is_found() {
    let table = corpus(shapes::LEAKING);
    let long_enough = |length| LONG_ENOUGH.contains(&length);
    for (mode, floors) in [FOUND_EXACT, FOUND_SAMPLED].into_iter().enumerate() {
        for (rate, floor) in floors.into_iter().enumerate() {
            let tally = table.sum(|_, r, m, length| (r, m) == (rate, mode) && long_enough(length));
            println!("mode {mode} rate {:.3}: {tally:?} {:.3}", RATES[rate], tally.found_share());
            assert!(tally.found_share() >= floor, "mode {mode} rate {rate}: {tally:?}\n{}", table.wrong());
        }
    }
    let all = table.sum(|_, _, _, length| long_enough(length));
    assert!(all.missed_bounded <= MISSED_BOUNDED, "{}", table.wrong());
    assert_eq!(all.accused, 0, "{}", table.wrong());
}

#[test]
fn corpus_of_clean_programs_raises_no_alarm() {
    let table = corpus(shapes::CLEAN);
    let all = table.sum(|_, _, _, length| LONG_ENOUGH.contains(&length));
    println!("{all:?}");
    assert_eq!(all.accused, 0, "{}", table.wrong());
}
