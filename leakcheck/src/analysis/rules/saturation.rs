//! Saturation: a straight line against an approach to a limit, a + c(1 − exp(−t/τ)), by the difference of their BIC.
//!
//! Fails: a line and an approach with τ beyond the run look the same; then the rule says nothing.

use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::line_residuals;
use crate::analysis::view::View;

const LIMIT: f64 = 4.0;

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let from = view.window.place_at((view.warm_up / 2.0).min(0.1));
    let (x, y) = (&view.window.seconds[from..], &view.blocks[from..]);
    let n = y.len();
    if n < 8 || view.is_few_blocks() {
        return None;
    }
    let (first, span) = (*x.first()?, (x.last()? - x.first()?).max(1e-9));
    let range = y.iter().copied().fold(f64::MIN, f64::max) - y.iter().copied().fold(f64::MAX, f64::min);
    if range < 8.0 || y.last()? <= y.first()? {
        return None;
    }
    let noise_floor = n as f64 * (0.01 * range).powi(2);
    let line = line_residuals(x, y) + noise_floor;
    let curve = |tau: f64| {
        let bent: Vec<f64> = x.iter().map(|x| -(-(x - first) / (tau * span)).exp_m1()).collect();
        (line_residuals(&bent, y) + noise_floor, tau)
    };
    let (saturating, tau) =
        [0.1, 0.15, 0.2, 0.3, 0.45, 0.6].map(curve).into_iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    // One more parameter than the line.
    let difference = n as f64 * (line / saturating).ln() - (n as f64).ln();
    if difference < 4.0 {
        return None;
    }
    let text = format!(
        "growth slows down as towards a limit, with a time constant of {:.1} s (BIC better by {difference:.0} than a \
         straight line)",
        tau * span
    );
    Some(Evidence { rule: "saturation", verdict: Verdict::Bounded, log_odds: -(difference / 4.0).min(LIMIT), text })
}
