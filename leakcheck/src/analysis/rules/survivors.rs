//! Survivors by birth generation: of a leak, blocks of every age stay in the same proportion; of anything bounded, the
//! old ones are gone, or no new ones come.
//!
//! Source: distinct surviving ages (JFluid; NetBeans' "surviving generations"), here with counts. The generations after
//! the warm-up are cut into an older and a newer part; the youngest fifth is left out, where blocks are in use. Two
//! things that a bounded site can be are tested: *lifetimes* (the share that survives falls with age: Q, older share
//! over newer share, would be at most 1/2) and *stopped* (few survivors are born any more: R, newer density over older,
//! would be at most 2/5). Logarithms of ratios of Poisson counts have variance φ(1/a + 1/b), with φ the dispersion of
//! counts between generations, so that one big step is worth little. The evidence is z²/2 for the smaller z of the two.
//!
//! Fails: on lifetimes longer than the run, and on a bounded cache whose first eviction is still to come.

use super::generations;
use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::statistics::theil_sen;
use crate::analysis::view::{CohortSum, View};

const LIMIT: f64 = 7.0;
/// Without blocks from several generations on both sides there is a step, not a rate.
const LIMIT_FEW_GENERATIONS: f64 = 1.5;
/// Where growth began late, it has been seen for less long.
const LATE_PENALTY: f64 = 1.0;

/// What survives, and since when.
#[derive(Debug, Clone, Copy)]
pub(in crate::analysis) struct Persistence {
    /// Fraction of the span at which the growth began.
    pub(in crate::analysis) onset: f64,
    pub(in crate::analysis) older: CohortSum,
    pub(in crate::analysis) newer: CohortSum,
    /// Standard normal deviate: positive for a leak.
    pub(in crate::analysis) z: f64,
    pub(in crate::analysis) dispersion: f64,
}

impl Persistence {
    fn at(view: &View<'_>, onset: f64) -> Option<Self> {
        let length = 1.0 - onset;
        let (cut, end) = (onset + 0.45 * length, onset + 0.8 * length);
        let (older, newer) = (view.cohorts_between(onset, cut), view.cohorts_between(cut, end));
        if older.count < 2 || newer.count < 2 {
            return None;
        }
        let share = view.recorded_share;
        let dispersion = older.dispersion(share).max(newer.dispersion(share));
        let (a, b) = (older.survivors * share + 0.5, newer.survivors * share + 0.5);
        let deviation = (dispersion * (1.0 / a + 1.0 / b)).sqrt();
        let survival = (a / (older.births * share + 1.0)).ln() - (b / (newer.births * share + 1.0)).ln();
        let density = (b / newer.length.max(1e-9)).ln() - (a / older.length.max(1e-9)).ln();
        let lifetimes = (survival - 0.5_f64.ln()) / deviation;
        let stopped = (density - 0.4_f64.ln()) / deviation;
        Some(Self { onset, older, newer, z: lifetimes.min(stopped), dispersion })
    }

    /// Survivors per fraction of the span.
    pub(in crate::analysis) fn density(&self) -> f64 {
        (self.older.survivors + self.newer.survivors) / (self.older.length + self.newer.length).max(1e-9)
    }

    /// Surviving bytes per fraction of the span.
    pub(in crate::analysis) fn density_bytes(&self) -> f64 {
        (self.older.bytes + self.newer.bytes) / (self.older.length + self.newer.length).max(1e-9)
    }
}

/// What survives of a site: over the whole window, or since a late beginning when that explains it better.
pub(in crate::analysis) fn persistence(view: &View<'_>) -> Option<Persistence> {
    let whole = Persistence::at(view, view.warm_up)?;
    if whole.z > 2.5 {
        return Some(whole);
    }
    match late_onset(view).and_then(|onset| Persistence::at(view, onset)) {
        Some(late) if late.z > whole.z => Some(late),
        _ => Some(whole),
    }
}

/// Where growth began, when the site was level before and has since reached heights it never had.
fn late_onset(view: &View<'_>) -> Option<f64> {
    const LATEST: f64 = 0.7;
    let floor = View::floor(&view.blocks);
    let (from, to) = (view.window.place_at(view.warm_up), view.window.place_at(LATEST));
    let (start, end) = (*floor.get(from)?, *floor.last()?);
    let growth = end - start;
    if growth <= 0.0 {
        return None;
    }
    let place = (from..=to).rev().find(|place| floor[*place] - start <= 0.1 * growth)?;
    let highest_before = view.blocks[..=place].iter().copied().fold(0.0, f64::max);
    let (first, span) = (view.window.seconds.first()?, view.window.span().max(1e-9));
    let onset = (view.window.seconds[place] - first) / span;
    (onset > view.warm_up + 0.1 && highest_before < 0.8 * end).then_some(onset)
}

/// Whether blocks are freed in the order they came, and ever later: the live count rises to the end, and the share of
/// generations alive does not fall.
fn is_backlog(view: &View<'_>) -> bool {
    let late = view.window.place_at(0.6);
    let rises = theil_sen(&view.window.seconds[late..], &view.blocks[late..]).is_some_and(|slope| slope.low > 0.0);
    rises && generations::shares(view).is_some_and(|(middle, end, alive)| alive >= 4.0 && end >= 0.85 * middle)
}

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let found = persistence(view)?;
    let (older, newer) = (found.older, found.newer);
    let born = older.births + newer.births;
    if born == 0.0 && older.survivors + newer.survivors == 0.0 {
        return None;
    }
    let mut log_odds = found.z * found.z.abs() / 2.0;
    if older.inhabited < 2 || newer.inhabited < 2 || older.inhabited + newer.inhabited < 4 {
        log_odds = log_odds.min(LIMIT_FEW_GENERATIONS);
    }
    if found.onset > view.warm_up {
        log_odds -= LATE_PENALTY;
    }
    let mut log_odds = log_odds.clamp(-LIMIT, LIMIT);
    if log_odds < 0.0 && is_backlog(view) {
        // Old blocks go, but ever later: that is no bound.
        log_odds = 0.0;
    }
    let generations = older.count + newer.count;
    let inhabited = older.inhabited + newer.inhabited;
    let (old, new) = (older.survivors, newer.survivors);
    let text = if log_odds > 0.0 {
        format!(
            "blocks born in {inhabited} of {generations} generations are still live, old ones ({old:.0} of {:.0}) in \
             the same proportion as newer ones ({new:.0} of {:.0})",
            older.births, newer.births
        )
    } else if old + new == 0.0 {
        format!("all {born:.0} blocks born in those {generations} generations have been freed")
    } else {
        format!(
            "of the older half {old:.0} of {:.0} blocks are still live, of the newer {new:.0} of {:.0}: old blocks go, or \
             no more come",
            older.births, newer.births
        )
    };
    let verdict = if log_odds > 1.0 {
        Verdict::Leaking
    } else if log_odds < -1.0 {
        Verdict::Bounded
    } else {
        Verdict::Inconclusive
    };
    Some(Evidence { rule: "survivors", verdict, log_odds, text })
}
