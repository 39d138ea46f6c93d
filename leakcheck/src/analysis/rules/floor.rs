//! Floor: what was never given back, and whether it still grows as it did.
//!
//! The floor at a moment is the least of all later counts. Of a leak it rises all the time, also of one whose oldest blocks
//! do go, such as a backlog, and under teeth; of anything bounded it stops, fades, or rises only at the very end, where
//! what is in use has not been given back yet. So its increments after the warm-up are weighed by the same hypotheses as
//! survivors by their birth. Where the number of blocks stays, bytes are looked at: buffers that grow in place.
//!
//! Fails: on a load that rises to the end, and on a fill that ends with the run.

use super::lifetimes::log_ratio;
use super::survivors::{Look, dispersion};
use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::median;
use crate::analysis::view::View;

const LIMIT: f64 = 7.0;
/// What survivors show already is not counted twice.
const LIMIT_SEEN: f64 = 1.5;
/// Log odds of the survivors from which they show it.
const SEEN: f64 = 0.5;
/// With fewer blocks there is no rate.
const RISE_MIN: f64 = 5.0;
const LIMIT_FEW: f64 = 0.25;
/// More increments than this, however small, add no certainty.
const INCREMENTS_MAX: f64 = 1000.0;

/// How the floor rises.
#[derive(Debug, Clone, Copy)]
pub(in crate::analysis) struct Profile {
    /// Logarithm of the likelihood ratio, leaking over bounded.
    pub(in crate::analysis) log_odds: f64,
    /// Whether bytes were looked at.
    pub(in crate::analysis) of_bytes: bool,
    /// The rise since the warm-up, in blocks or bytes.
    pub(in crate::analysis) rise: f64,
    /// How far the level late stands above that early, beyond what turnover does, as log odds.
    pub(in crate::analysis) beyond_turnover: f64,
}

impl Profile {
    /// Whether most blocks are freed again.
    pub(in crate::analysis) const fn comes_and_goes(&self) -> bool {
        self.beyond_turnover < f64::MAX
    }

    /// Whether it rose by enough to speak of a rate.
    pub(in crate::analysis) fn is_more_than_few(&self, view: &View<'_>) -> bool {
        self.of_bytes || self.rise * view.recorded_share >= RISE_MIN
    }
}

pub(in crate::analysis) fn profile(view: &View<'_>, look: &Look) -> Option<Profile> {
    let from = view.window.place_at(look.onset);
    let floor = View::floor(&view.blocks);
    let (start, end) = (*floor.get(from)?, view.last(&floor));
    let bytes = View::floor(&view.bytes);
    let (bytes_start, bytes_end) = (*bytes.get(from)?, view.last(&bytes));
    let mean_size = bytes_end / end.max(1.0);
    // Bytes tell more where blocks hardly come and bytes do.
    let of_bytes = (bytes_end - bytes_start) > 2.0 * (end - start).max(0.5) * mean_size.max(1.0);
    let (values, least) = if of_bytes {
        (&bytes, (mean_size / view.recorded_share.max(1e-9)).min(bytes_end - bytes_start) / 64.0)
    } else {
        (&floor, 1.0 / view.recorded_share.max(1e-9))
    };
    let rise = view.last(values) - values[from];
    if rise <= 0.0 {
        return Some(Profile { log_odds: 0.0, of_bytes, rise: 0.0, beyond_turnover: 0.0 });
    }
    let mut counts = vec![0.0; look.stretches.len()];
    let mut fine = Vec::new();
    for (place, stretch) in look.places.iter().enumerate() {
        let (Some(stretch), Some(next)) = (*stretch, values.get(place + 1)) else { continue };
        let grown = next - values[place];
        counts[stretch] += grown;
        fine.push((view.window.seconds[place + 1] - view.window.seconds[place], grown));
    }
    fine.truncate((fine.len() * 9).div_ceil(10));
    let old = look.stretches.iter().zip(&counts).filter(|(one, _)| one.to <= 0.9);
    let coarse: Vec<(f64, f64)> = old.map(|(one, count)| (one.to - one.from, *count)).collect();
    let spread = dispersion(&fine, least).max(dispersion(&coarse, least)).max(rise / INCREMENTS_MAX);
    // It was estimated from few intervals.
    let spread = spread * (1.0 + 3.0 / coarse.len().max(1) as f64);
    let log_odds = log_ratio(look.hypotheses(), &counts, spread);
    let beyond_turnover = beyond_turnover(view, of_bytes);
    Some(Profile { log_odds: log_odds.min(beyond_turnover), of_bytes, rise, beyond_turnover })
}

/// Blocks that come and go are now more, now fewer: the variance of their number is the number; and now larger, now smaller:
/// the variance of the sum of their sizes is their number times that of a size, which is taken for even between the smallest and
/// the largest. What the level late against early says beyond that, as log odds; no limit where blocks do not go.
fn beyond_turnover(view: &View<'_>, of_bytes: bool) -> f64 {
    let (born, left) = (view.last(&view.allocated), view.last(&view.blocks));
    if left > 0.5 * born {
        return f64::MAX;
    }
    let level = |values: &[f64], from: f64, to: f64| {
        let (from, to) = (view.window.place_at(from), view.window.place_at(to));
        median(&mut values[from.min(to)..=to].to_vec())
    };
    let both = |values: &[f64]| (level(values, view.warm_up, 0.4), level(values, 0.8, 1.0));
    let share = view.recorded_share;
    let (early, late) = both(&view.blocks);
    let z = match view.site.size.filter(|_| of_bytes) {
        Some(size) => {
            let mean = view.last(&view.bytes) / left.max(1.0);
            let of_size = (size.largest - size.smallest) as f64 / 12.0_f64.sqrt();
            // Of a sample, the number varies as well.
            let of_number = if share < 1.0 { mean } else { 0.0 };
            let (early_bytes, late_bytes) = both(&view.bytes);
            let noise = ((late + early).max(1.0) / share.max(1e-9) * (of_size.powi(2) + of_number.powi(2))).sqrt();
            (late_bytes - early_bytes) / noise.max(1.0)
        }
        None => (late - early) * share / ((late + early) * share).max(1.0).sqrt(),
    };
    (z * z.abs() / 2.0 - 1.0).max(0.0)
}

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let found = view.profile?;
    if view.is_few_blocks() || found.log_odds.abs() < 0.1 {
        return None;
    }
    let seen = view.persistence.map_or(0.0, |persistence| persistence.log_odds);
    let most = match (found.is_more_than_few(view), seen > SEEN) {
        (false, _) => LIMIT_FEW,
        (true, true) => LIMIT_SEEN,
        (true, false) => LIMIT,
    };
    let log_odds = found.log_odds.clamp(-LIMIT, most);
    let unit = if found.of_bytes { "bytes" } else { "blocks" };
    let (verdict, text) = if log_odds > 0.0 {
        (
            Verdict::Leaking,
            format!("what is never given back rose by {:.0} {unit} since the warm-up, and goes on rising", found.rise),
        )
    } else {
        (
            Verdict::Bounded,
            format!(
                "what is never given back rose by {:.0} {unit} since the warm-up, but does not go on as it did",
                found.rise
            ),
        )
    };
    Some(Evidence { rule: "floor", verdict, log_odds, text })
}
