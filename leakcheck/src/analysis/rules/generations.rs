//! Generations: how many birth generations are alive at once, over the run.
//!
//! Source: the "surviving generations" metric of NetBeans' profiler: a leak adds one more distinct age at every epoch, a
//! cache stops at its residence time. What counts is the share of all generations so far that is alive: of a leak it
//! stays, and of a backlog too, whose old blocks do go but ever later; of anything with a bounded lifetime it falls.
//!
//! Fails: within a tooth of a sawtooth the share rises.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::median;
use crate::analysis::view::View;

/// Generations alive as a share of all so far: in the middle of the run and at its end, with the number at the end.
pub(super) fn shares(view: &View<'_>) -> Option<(f64, f64, f64)> {
    let n = view.generations_alive.len();
    let middle = view.window.place_at(0.5);
    let around = (n / 10).max(1);
    if n < 8 || middle < around {
        return None;
    }
    let share = |from: usize, to: usize| {
        let mut shares: Vec<f64> =
            (from..to.min(n)).map(|at| view.generations_alive[at] / view.window.generations_begun[at]).collect();
        median(&mut shares)
    };
    Some((share(middle - around, middle + around), share(n - around, n), view.last(&view.generations_alive)))
}

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    if view.is_few_blocks() || view.persistence.is_none_or(|found| found.is_thin() && found.older.inhabited > 0) {
        return None;
    }
    let (middle, end, alive) = shares(view)?;
    if alive < 4.0 || middle <= 0.0 {
        return None;
    }
    let text = |what: &str| {
        format!(
            "{what}: {:.0} % of all birth generations were alive in the middle of the run, {:.0} % at its end",
            middle * 100.0,
            end * 100.0
        )
    };
    let (verdict, log_odds, text) = if end >= 0.85 * middle {
        (Verdict::Leaking, 1.0, text("every interval adds a generation that stays"))
    } else if end <= 0.65 * middle {
        (Verdict::Bounded, -0.5, text("generations die out"))
    } else {
        return None;
    };
    Some(Evidence { rule: "generations", verdict, log_odds, text })
}
