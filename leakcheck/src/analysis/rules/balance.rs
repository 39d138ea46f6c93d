//! Balance: if what survives keeps being born, the live count must keep growing by as much.
//!
//! A bounded cache that has just begun to evict shows survivors of many ages, but its live count stands still. The rule
//! compares the growth over the last third with what the density of survivors predicts for that time, in units of the
//! noise around two straight pieces (so that a bend or a step is not noise, and a sawtooth is). It only speaks against a leak.
//!
//! Fails: where noise is larger than the growth it says nothing.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::{line_residuals, median};
use crate::analysis::view::View;

const AGAINST_LIMIT: f64 = 7.0;
/// The part at the end that growth is looked for in.
const TAIL: f64 = 0.3;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    // Where the same blocks get larger, or are replaced by larger ones, bytes grow and their number does not.
    let grows_itself = view.profile.filter(|profile| profile.of_bytes && profile.log_odds > 0.0);
    let (values, expected, least_noise, unit) = match grows_itself {
        Some(profile) => {
            let span = (1.0 - view.persistence.map_or(view.warm_up, |found| found.onset)).max(1e-9);
            (
                &view.bytes,
                profile.rise / span * TAIL,
                view.last(&view.bytes) / view.last(&view.blocks).max(1.0),
                "bytes",
            )
        }
        None => (&view.blocks, view.persistence?.density() * TAIL, 1.0, "blocks"),
    };
    if expected <= 0.0 {
        return None;
    }
    let n = values.len();
    let tail = view.window.place_at(1.0 - TAIL);
    let around = (n / 20).max(1);
    if tail < around || n - tail < 3 {
        return None;
    }
    let level = |from: usize, to: usize| median(&mut values[from..to.min(n)].to_vec());
    let grown = level(n - around, n) - level(tail.saturating_sub(around / 2), tail + around.div_ceil(2));
    let noise = noise(view, values) + 0.5 * least_noise / view.recorded_share.max(1e-6).sqrt();
    let short = (0.5 * expected - grown) / noise;
    let log_odds = -(short * short / 2.0).min(AGAINST_LIMIT);
    if short <= 0.0 || log_odds > -0.3 {
        return None;
    }
    let text = format!(
        "what is live grew by {grown:.0} {unit} in the last third, where a leak at the rate before would have added \
         {expected:.0}"
    );
    Some(Evidence { rule: "balance", verdict: Verdict::Bounded, log_odds, text })
}

/// Standard deviation around the best two straight pieces after the warm-up.
fn noise(view: &View<'_>, values: &[f64]) -> f64 {
    let from = view.window.place_at(view.warm_up);
    let (x, y) = (&view.window.seconds[from..], &values[from..]);
    let n = y.len();
    let pieces = |cut: usize| line_residuals(&x[..cut], &y[..cut]) + line_residuals(&x[cut..], &y[cut..]);
    let step = (n / 24).max(1);
    let best = (3..n.saturating_sub(2)).step_by(step).map(pieces).fold(line_residuals(x, y), f64::min);
    (best / (n as f64 - 4.0).max(1.0)).sqrt()
}
