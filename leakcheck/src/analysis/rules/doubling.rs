//! Doubling: one block, or a few, that grow in steps: a vector, a string, a log, the table of a hash map, the chunks of an
//! arena.
//!
//! Such memory grows by a factor each time it is full. Filled at a steady rate, it is full at times that are as its
//! capacities: the step after a capacity of C comes at C / rate. So steps whose times are in one proportion to the
//! capacities before them are those of a steady fill; the next is due at the same proportion, and when it is long overdue
//! the fill has ended.
//!
//! Fails: a buffer whose final size is reached near the end of the run cannot be told from one that goes on growing.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::median;
use crate::analysis::view::View;

/// A step is a growth by at least this factor.
const STEP: f64 = 1.2;
/// Times are in proportion to capacities within this factor.
const STEADY: f64 = 1.35;
/// Log odds by the number of steps that come as they do in a steady fill.
const BY_STEPS: [f64; 5] = [0.0, 0.5, 3.0, 5.0, 6.8];

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    if !view.is_few_blocks() {
        return None;
    }
    let steps = steps(view);
    let end = *view.window.seconds.last()?;
    let last_size = view.last(&view.bytes);
    let say = |verdict, log_odds, text| Some(Evidence { rule: "doubling", verdict, log_odds, text });
    let Some(last) = steps.last() else {
        return say(Verdict::Bounded, -3.0, format!("its {last_size:.0} bytes have not grown"));
    };
    if view.bytes.iter().any(|bytes| *bytes > 1.5 * last_size) {
        // It shrank: it follows a load.
        return say(Verdict::Bounded, -2.0, format!("it was larger than its {last_size:.0} bytes before"));
    }
    let growth = format!("grew {} times to {last_size:.0} bytes, last after {:.1} s", steps.len(), last.seconds);
    // When the next step would be due at a steady rate; by the last step alone where there is no proportion.
    let by_last = last.seconds * (last.after / last.before).clamp(1.25, 4.0);
    let steady = steady(&steps, view);
    let due = by_last.max(if steady.count >= 3 { steady.seconds_per_byte * last.after } else { 0.0 });
    if end > 1.3 * due {
        let text = format!("{growth}; at a steady rate the next step was due after {due:.1} s, and none came");
        return say(Verdict::Bounded, -3.0, text);
    }
    // A long series, a large growth and a step that is not overdue.
    let since_warm_up = steps.iter().filter(|step| step.seconds > 0.12 * end).count();
    let large = last_size >= 4.0 * view.bytes.first().copied()?.max(1.0) && view.blocks.len() >= 10;
    if !large || since_warm_up < 2 || end > 1.1 * due {
        let text = format!("{growth}: the next step is not due, or not long overdue");
        return say(Verdict::Inconclusive, 0.5, text);
    }
    let counted = steady.count.max(since_warm_up).min(BY_STEPS.len() - 1);
    let log_odds = BY_STEPS[counted];
    let text = format!("{growth}: steps come as they do when it is filled at a steady rate");
    say(if log_odds > 1.0 { Verdict::Leaking } else { Verdict::Inconclusive }, log_odds, text)
}

/// A step of a buffer from one capacity to a larger one.
pub(in crate::analysis) struct Step {
    /// The first moment after it: place in the window.
    pub(in crate::analysis) place: usize,
    seconds: f64,
    /// The moment before it.
    not_before: f64,
    /// Bytes before and after.
    pub(in crate::analysis) before: f64,
    pub(in crate::analysis) after: f64,
}

pub(in crate::analysis) fn steps(view: &View<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut highest = view.bytes.first().copied().unwrap_or(0.0);
    let seconds = &view.window.seconds;
    for (place, bytes) in view.bytes.iter().enumerate().skip(1) {
        if highest <= 0.0 {
            highest = *bytes;
        } else if *bytes >= highest * STEP {
            let not_before = seconds[place - 1];
            steps.push(Step { place, seconds: seconds[place], not_before, before: highest, after: *bytes });
            highest = *bytes;
        }
    }
    steps
}

struct Steady {
    /// The last steps in a row that are in proportion.
    count: usize,
    seconds_per_byte: f64,
}

/// How many of the last steps come at times in proportion to the capacity before them, to within a factor and the time
/// between snapshots. Where several steps fall between two snapshots, the last one is meant.
fn steady(steps: &[Step], view: &View<'_>) -> Steady {
    let interval = view.window.span() / view.window.len().max(2) as f64;
    let seen: Vec<&Step> = steps.iter().filter(|step| step.seconds > 2.0 * interval).collect();
    // The capacity that was full at the step is half of what came, where the step was larger than one doubling.
    let filled = |step: &Step| step.before.max(step.after / 2.0);
    let mut ratios: Vec<f64> = seen.iter().map(|step| step.seconds / filled(step)).collect();
    let seconds_per_byte = median(&mut ratios);
    let fits = |step: &&&Step| {
        let wanted = seconds_per_byte * filled(step);
        wanted <= step.seconds * STEADY && wanted * STEADY >= step.not_before
    };
    Steady { count: seen.iter().rev().take_while(fits).count(), seconds_per_byte }
}
