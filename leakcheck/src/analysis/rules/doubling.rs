//! Doubling: one block, or a few, that grow in steps: a vector, a string, a log, the table of a hash map.
//!
//! Such a block grows by a factor each time it is full. Filled at a steady rate it does so at times that are themselves
//! a factor apart: after a step at time t the next comes at about the same factor times t. So a block that grew `k` times
//! and whose last step lies no farther back than one factor is filled steadily; one whose next step is long overdue has
//! come to rest. A step that is overdue by less says nothing yet.
//!
//! Fails: a buffer whose final size is reached near the end of the run cannot be told from one that goes on growing.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::view::View;

/// A step is a growth by at least this factor.
const STEP: f64 = 1.2;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    if !view.is_few_blocks() {
        return None;
    }
    let steps = steps(view);
    let end = *view.window.seconds.last()?;
    let (first_size, last_size) = (view.bytes.first().copied()?, view.last(&view.bytes));
    let Some(last) = steps.last() else {
        let text = format!("its {last_size:.0} bytes have not grown");
        return Some(Evidence { rule: "doubling", verdict: Verdict::Bounded, log_odds: -3.0, text });
    };
    if view.bytes.iter().any(|bytes| *bytes > 1.5 * last_size) {
        // It shrank: it follows a load.
        let text = format!("it was larger than its {last_size:.0} bytes before");
        return Some(Evidence { rule: "doubling", verdict: Verdict::Bounded, log_odds: -2.0, text });
    }
    // When the next step would be due at a steady rate.
    let due = last.seconds * last.factor.clamp(1.25, 4.0);
    let since_warm_up = steps.iter().filter(|step| step.seconds > 0.12 * end).count();
    let growth = format!("grew {} times to {last_size:.0} bytes, last after {:.1} s", steps.len(), last.seconds);
    if end > 1.3 * due {
        let text = format!("{growth}; at a steady rate the next step was due after {due:.1} s, and none came");
        return Some(Evidence { rule: "doubling", verdict: Verdict::Bounded, log_odds: -3.0, text });
    }
    let steady = steps.len() >= 3 && since_warm_up >= 2 && last_size >= 4.0 * first_size.max(1.0) && end <= 1.1 * due;
    let many = since_warm_up >= 3;
    let (verdict, log_odds) = match (steady, many) {
        (true, true) => (Verdict::Leaking, 6.8),
        (true, false) => (Verdict::Leaking, 4.0),
        (false, true) => (Verdict::Inconclusive, 2.5),
        (false, false) => (Verdict::Inconclusive, 0.5),
    };
    let text = format!("{growth}: steps come as they do when it is filled at a steady rate");
    Some(Evidence { rule: "doubling", verdict, log_odds, text })
}

struct Step {
    seconds: f64,
    factor: f64,
}

fn steps(view: &View<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut highest = view.bytes.first().copied().unwrap_or(0.0);
    for (seconds, bytes) in view.window.seconds.iter().zip(&view.bytes).skip(1) {
        if highest <= 0.0 {
            highest = *bytes;
        } else if *bytes >= highest * STEP {
            steps.push(Step { seconds: *seconds, factor: bytes / highest });
            highest = *bytes;
        }
    }
    steps
}
