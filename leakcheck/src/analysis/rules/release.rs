//! Release: the site gave back most of what it held at least once: batches, arenas, swapped generations.
//!
//! Fails: a leak beneath a sawtooth gives most back too; what survives decides then.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::view::View;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let from = view.window.place_at(view.warm_up / 2.0);
    let floor = View::floor(&view.blocks);
    let mut highest: f64 = 0.0;
    let mut deepest: f64 = 0.0;
    for (blocks, floor) in view.blocks.iter().zip(&floor).skip(from) {
        highest = highest.max(*blocks);
        if highest > 4.0 {
            deepest = deepest.max((highest - floor) / highest);
        }
    }
    if deepest < 0.5 {
        return None;
    }
    let text = format!("it has given back {:.0} % of its blocks before", deepest * 100.0);
    Some(Evidence { rule: "release", verdict: Verdict::Bounded, log_odds: -1.5, text })
}
