//! Trend: the slope of live blocks in the later part, by Theil and Sen, and whether it is still what it was.
//!
//! Fails: warm-up is a true trend, and a sawtooth has one within every tooth, so a rising slope is weak evidence. That
//! nothing rises any more is stronger, and so is a straight line from the warm-up to the end, which nothing bounded draws
//! unless its bound lies beyond the run.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::{Slope, line_residuals, theil_sen};
use crate::analysis::view::View;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    if view.is_few_blocks() {
        return None;
    }
    let late_from = view.window.place_at(0.6);
    let early_from = view.window.place_at(view.warm_up).min(late_from);
    let slope = |from: usize, to: usize| theil_sen(&view.window.seconds[from..to], &view.blocks[from..to]);
    let late = slope(late_from, view.blocks.len())?;
    let early = slope(early_from, (late_from + 1).min(view.blocks.len()));
    let per_s = |rate: f64| if rate.abs() >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.2}") };
    if late.low > 0.0 {
        let steady = early.is_some_and(|early| early.low > 0.0 && late.estimate >= 0.6 * early.estimate);
        let (log_odds, steadily) = match (steady, steady && is_straight(view, early_from, late)) {
            (_, true) => (2.0, "in a straight line"),
            (true, false) => (1.0, "steadily"),
            (false, false) => (0.5, "of late"),
        };
        let text = format!(
            "live blocks rise {steadily}, by {} a second (95 % interval {} to {})",
            per_s(late.estimate),
            per_s(late.low),
            per_s(late.high)
        );
        return Some(Evidence { rule: "trend", verdict: Verdict::Leaking, log_odds, text });
    }
    let bytes_rise =
        || theil_sen(&view.window.seconds[late_from..], &view.bytes[late_from..]).is_some_and(|s| s.low > 0.0);
    if late.high <= 0.0 && !bytes_rise() {
        let text = "live blocks have not risen over the last two fifths of the run".to_owned();
        return Some(Evidence { rule: "trend", verdict: Verdict::Bounded, log_odds: -2.5, text });
    }
    None
}

/// Whether the live count follows one straight line from `from` on, to within a few hundredths of its rise, and as steep
/// at the end as over all.
fn is_straight(view: &View<'_>, from: usize, late: Slope) -> bool {
    let (x, y) = (&view.window.seconds[from..], &view.blocks[from..]);
    let n = x.len();
    if n < 10 {
        return false;
    }
    let rise = y[n - 1] - y[0];
    let slope = rise / (x[n - 1] - x[0]).max(1e-9);
    let deviation = (line_residuals(x, y) / n as f64).sqrt();
    rise >= 10.0 && deviation < 0.05 * rise && late.estimate > 0.75 * slope
}
