//! From a series of snapshots to findings and a verdict. Pure: no input or output, no clock, no globals, no failure.

mod diff;
mod judgement;

pub use diff::{Diff, SiteChange, diff};
pub use judgement::{Cause, Evidence, Finding, JudgeOptions, Judgement, PerIteration, Rate, Verdict};

use crate::model::Series;

/// Judges a series: which sites leak, which are bounded, and for which the data is too thin.
#[must_use]
pub fn judge(series: &Series, options: &JudgeOptions) -> Judgement {
    let _ = (series, options);
    Judgement {
        verdict: Verdict::Inconclusive,
        findings: Vec::new(),
        notes: Vec::new(),
        more_ms: None,
        sites_judged: 0,
    }
}
