//! Resizing: many blocks whose number stays while their bytes grow: buffers that are kept and only ever get larger.
//!
//! The slope of live bytes in the later part, by Theil and Sen, compared with the earlier one.
//!
//! Fails: buffers that each settle at a size of their own approach their total slowly.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::theil_sen;
use crate::analysis::view::View;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let resized = view.site.points.last().is_some_and(|point| point.counters.resized > 0);
    if !resized || view.is_few_blocks() {
        return None;
    }
    let (from, middle, n) = (view.window.place_at(view.warm_up), view.window.place_at(0.6), view.bytes.len());
    let blocks = theil_sen(&view.window.seconds[from..], &view.blocks[from..])?;
    if blocks.low > 0.0 {
        // More blocks come as well; the other rules see that.
        return None;
    }
    let early = theil_sen(&view.window.seconds[from..=middle], &view.bytes[from..=middle])?;
    let late = theil_sen(&view.window.seconds[middle..n], &view.bytes[middle..n])?;
    if late.high <= 0.0 {
        let text = "the blocks have stopped growing".to_owned();
        return Some(Evidence { rule: "resizing", verdict: Verdict::Bounded, log_odds: -2.0, text });
    }
    if late.low <= 0.0 || early.low <= 0.0 {
        return None;
    }
    let steady = late.estimate >= 0.6 * early.estimate;
    let log_odds = if steady && n >= 12 { 6.8 } else { 1.0 };
    let text = format!("the same blocks grow by {:.0} bytes a second, and did before", late.estimate);
    let verdict = if steady { Verdict::Leaking } else { Verdict::Inconclusive };
    Some(Evidence { rule: "resizing", verdict, log_odds, text })
}
