//! Iterations: the same growth per loop turn in every quarter, when the program marks its turns.
//!
//! Source: scripted loops as an oracle (BLeak; LeakCanary 3). Growth is that of the floor, what was never given back
//! since, so that work in progress does not count.
//!
//! Fails: on data that every turn adds to a cache still filling.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::view::View;

const QUARTERS: usize = 4;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let turns = &view.window.iterations;
    if view.is_few_blocks() || turns.last()? - turns.first()? < 20.0 {
        return None;
    }
    let floor = View::floor(&view.blocks);
    // The very end is level with the floor by definition.
    let at = |quarter: usize| view.warm_up + (0.95 - view.warm_up) * quarter as f64 / QUARTERS as f64;
    let mut per_turn = [0.0; QUARTERS];
    for (quarter, rate) in per_turn.iter_mut().enumerate() {
        let (from, to) = (view.window.place_at(at(quarter)), view.window.place_at(at(quarter + 1)));
        let passed = turns[to] - turns[from];
        if passed < 4.0 {
            return None;
        }
        *rate = (floor[to] - floor[from]) / passed;
    }
    let mean = per_turn.iter().sum::<f64>() / QUARTERS as f64;
    let even = mean > 0.0 && per_turn.iter().all(|rate| (rate / mean - 1.0).abs() < 0.4);
    even.then(|| Evidence {
        rule: "iterations",
        verdict: Verdict::Leaking,
        log_odds: 2.0,
        text: format!("every quarter of the run adds the same, {mean:.3} blocks per turn of the program's loop"),
    })
}
