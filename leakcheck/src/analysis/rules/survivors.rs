//! Survivors by birth generation: of a leak, blocks of every age stay in the same proportion; of anything bounded, the
//! old ones are gone, or no new ones come.
//!
//! Source: distinct surviving ages (JFluid; NetBeans' "surviving generations"), here with counts: the survivors of all generations
//! since the warm-up, in up to 16 stretches of time, are weighed by what a site can be (`lifetimes`). Counts that clump, as one big
//! step does, weigh less: log likelihoods are divided by their dispersion φ.
//!
//! Fails: on lifetimes longer than the run, and on a bounded cache whose first eviction is still to come.

use super::lifetimes::{Hypotheses, Stretch, log_ratio};
use crate::analysis::judgement::{Evidence, Verdict};
use crate::analysis::view::{CohortSum, View};
use crate::analysis::window::Window;
use std::cell::OnceCell;

const LIMIT: f64 = 7.0;
/// Where what is never given back keeps rising, that old blocks go says less.
const LIMIT_BACKLOG: f64 = -1.0;
/// Without blocks from several generations on both sides there is a step, not a rate.
const LIMIT_FEW_GENERATIONS: f64 = 0.25;
/// Log odds from which no other explanation is looked for.
const CLEAR: f64 = 5.0;
/// That something was built at one moment beside the leak is not usual.
const STEP_PENALTY: f64 = 1.0;
/// No later onset is looked for.
const LATEST: f64 = 0.7;
/// The part of the time since the onset in which hardly anything is in use.
const OLD: f64 = 0.8;
/// Stretches of birth times.
const STRETCHES: usize = 16;
/// Where growth began late, it has been seen for less long.
const LATE_PENALTY: f64 = 1.0;

/// What survives, and since when.
#[derive(Debug, Clone, Copy)]
pub(in crate::analysis) struct Persistence {
    /// Fraction of the span at which the growth began.
    pub(in crate::analysis) onset: f64,
    pub(in crate::analysis) older: CohortSum,
    pub(in crate::analysis) newer: CohortSum,
    /// Logarithm of the likelihood ratio, leaking over bounded.
    pub(in crate::analysis) log_odds: f64,
    pub(in crate::analysis) dispersion: f64,
}

impl Persistence {
    fn at(view: &View<'_>, look: &Look) -> Option<Self> {
        let onset = look.onset;
        let length = 1.0 - onset;
        let (cut, end) = (onset + 0.45 * length, onset + 0.8 * length);
        let (older, newer) = (view.cohorts_between(onset, cut), view.cohorts_between(cut, end));
        if older.count < 2 || newer.count < 2 {
            return None;
        }
        let counts = Counts::of(view, look);
        let dispersion = counts.dispersion(look);
        let log_odds = counts.log_odds(look, dispersion);
        // Or something was built at one moment, and what is left tells more.
        let without_step = counts.without_step(look).filter(|_| log_odds < CLEAR).map(|counts| {
            let dispersion = counts.dispersion(look);
            (counts.log_odds(look, dispersion) - STEP_PENALTY, dispersion)
        });
        let (log_odds, dispersion) =
            without_step.filter(|(other, _)| *other > log_odds).unwrap_or((log_odds, dispersion));
        Some(Self { onset, older, newer, log_odds, dispersion })
    }

    /// Whether survivors are of a few generations only, or all older or all newer: a step, or chance, rather than a rate.
    pub(in crate::analysis) const fn is_thin(&self) -> bool {
        let (older, newer) = (self.older.inhabited, self.newer.inhabited);
        older < 2 || newer < 2 || older + newer < 4
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

/// The time since an onset in a few stretches of about equal length, with what can be expected to survive of each.
pub(in crate::analysis) struct Look {
    /// Fraction of the span.
    pub(super) onset: f64,
    /// In time since the onset.
    pub(super) stretches: Vec<Stretch>,
    /// The stretch that each generation, or each interval between moments, belongs to.
    pub(super) places: Vec<Option<usize>>,
    /// Made when first asked for: of most onsets nothing is asked.
    hypotheses: OnceCell<Hypotheses>,
}

impl Look {
    fn new(pieces: impl Iterator<Item = (f64, f64)>, onset: f64) -> Self {
        let length = (1.0 - onset).max(1e-9);
        let mut look = Self { onset, stretches: Vec::new(), places: Vec::new(), hypotheses: OnceCell::new() };
        for (start, end) in pieces {
            if f64::midpoint(start, end) < onset {
                look.places.push(None);
                continue;
            }
            let (from, to) = (((start - onset) / length).max(0.0), (end - onset) / length);
            match look.stretches.last_mut() {
                Some(last) if last.to - last.from < 1.0 / STRETCHES as f64 - 1e-6 => last.to = to,
                _ => look.stretches.push(Stretch { from, to }),
            }
            look.places.push(look.stretches.len().checked_sub(1));
        }
        look
    }

    pub(super) fn hypotheses(&self) -> &Hypotheses {
        self.hypotheses.get_or_init(|| Hypotheses::over(&self.stretches))
    }
}

/// The looks that sites share.
pub(in crate::analysis) struct Looks {
    /// At generations, from the warm-up on and from later onsets.
    births: Vec<Look>,
    /// At the intervals between moments, from the same onsets on.
    moments: Vec<Look>,
}

impl Looks {
    pub(in crate::analysis) fn new(window: &Window, warm_up: f64) -> Self {
        let later = |step: u32| warm_up + 0.05 * f64::from(step);
        let onsets = || (0..=14).map(later).take_while(|onset| *onset <= (LATEST + 0.05).max(warm_up));
        let births = |onset| Look::new(window.generations.iter().map(|one| (one.start, one.end)), onset);
        let (first, span) = (window.seconds.first().copied().unwrap_or(0.0), window.span().max(1e-9));
        let fraction = |seconds: f64| (seconds - first) / span;
        let intervals =
            |onset| Look::new(window.seconds.windows(2).map(|pair| (fraction(pair[0]), fraction(pair[1]))), onset);
        Self { births: onsets().map(births).collect(), moments: onsets().map(intervals).collect() }
    }

    pub(in crate::analysis) fn warm_up(&self) -> f64 {
        self.births.first().map_or(0.0, |look| look.onset)
    }

    /// The look at moments since an onset.
    pub(in crate::analysis) fn moments_since(&self, onset: f64) -> Option<&Look> {
        self.moments.iter().find(|look| look.onset >= onset)
    }

    /// The first look at or after an onset.
    fn since(&self, onset: f64) -> Option<&Look> {
        self.births.iter().find(|look| look.onset >= onset)
    }
}

/// What a site shows in a look, in recorded blocks.
#[derive(Clone)]
struct Counts {
    survivors: Vec<f64>,
    births: Vec<f64>,
    /// Length and survivors of each generation that is not among the youngest.
    fine_counts: Vec<(f64, f64)>,
    /// Dispersion between neighbouring generations.
    fine: f64,
}

impl Counts {
    fn of(view: &View<'_>, look: &Look) -> Self {
        let mut counts = Self {
            survivors: vec![0.0; look.stretches.len()],
            births: vec![0.0; look.stretches.len()],
            fine_counts: Vec::new(),
            fine: 1.0,
        };
        let until = look.onset + OLD * (1.0 - look.onset);
        for (cohort, place) in view.cohorts.iter().zip(&look.places) {
            let Some(place) = *place else { continue };
            let survivors = cohort.survivors * view.recorded_share;
            counts.survivors[place] += survivors;
            counts.births[place] += cohort.births.max(cohort.survivors) * view.recorded_share;
            if cohort.end <= until {
                counts.fine_counts.push((cohort.end - cohort.start, survivors));
            }
        }
        counts.fine = dispersion(&counts.fine_counts, 1.0);
        counts
    }

    /// The same without the generation that stands out most, if one holds much more than its neighbours.
    fn without_step(&self, look: &Look) -> Option<Self> {
        let rate = |place: usize| self.fine_counts[place].1 / self.fine_counts[place].0.max(1e-9);
        let highest = (0..self.fine_counts.len()).max_by(|a, b| rate(*a).total_cmp(&rate(*b)))?;
        let others = self.fine_counts.iter().enumerate().filter(|(place, _)| *place != highest);
        let (length, count) = others.fold((0.0, 0.0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1));
        let (own_length, own) = self.fine_counts[highest];
        let usual = own_length * count / f64::max(length, 1e-9);
        if own < 8.0 || own < 5.0 * usual.max(1.0) {
            return None;
        }
        let stretch = look.places.iter().flatten().nth(highest).copied()?;
        let mut counts = self.clone();
        counts.fine_counts[highest].1 = usual;
        counts.survivors[stretch] = (counts.survivors[stretch] - own + usual).max(0.0);
        counts.fine = dispersion(&counts.fine_counts, 1.0);
        Some(counts)
    }

    /// The larger of the dispersions between neighbouring generations and between neighbouring stretches; the youngest
    /// fifth, where blocks are in use, is left out.
    fn dispersion(&self, look: &Look) -> f64 {
        let pairs = look.stretches.iter().zip(&self.survivors).filter(|(one, _)| one.to <= OLD);
        let coarse: Vec<(f64, f64)> = pairs.map(|(one, count)| (one.to - one.from, *count)).collect();
        self.fine.max(dispersion(&coarse, 1.0))
    }

    /// Births follow the load where most of them are freed again. There the survivors are compared with it, as well as
    /// with time.
    fn log_odds(&self, look: &Look, dispersion: f64) -> f64 {
        let by_time = log_ratio(look.hypotheses(), &self.survivors, dispersion);
        let (born, left) = (self.births.iter().sum::<f64>(), self.survivors.iter().sum::<f64>());
        if left > 0.5 * born || self.births.iter().any(|born| *born <= 0.0) {
            return by_time;
        }
        let length: f64 = look.stretches.iter().map(|one| one.to - one.from).sum();
        let usual = born / length.max(1e-9);
        let at_usual_load = self.births.iter().zip(&look.stretches).zip(&self.survivors).map(|((born, one), count)| {
            let load = born / ((one.to - one.from) * usual).max(1e-9);
            count / load.clamp(0.25, 4.0)
        });
        let by_load = log_ratio(look.hypotheses(), &at_usual_load.collect::<Vec<f64>>(), dispersion);
        f64::midpoint(by_time, by_load)
    }
}

/// Variance over mean of counts, from the differences of neighbours (length, count), so that a slow change is none.
pub(super) fn dispersion(counts: &[(f64, f64)], least: f64) -> f64 {
    let (mut sum, mut pairs) = (0.0, 0.0_f64);
    for pair in counts.windows(2) {
        let ((length_a, a), (length_b, b)) = (pair[0], pair[1]);
        pairs += 1.0;
        if a + b > 0.0 && length_a > 0.0 && length_b > 0.0 {
            let rate = (a + b) / (length_a + length_b);
            sum += (a / length_a - b / length_b).powi(2) / (rate * (1.0 / length_a + 1.0 / length_b));
        }
    }
    // Of counts that are single independent blocks this is 1, give or take; only what is beyond chance counts.
    let chance = least * (2.0 / pairs.max(1.0)).sqrt();
    (sum / pairs.max(1.0) - chance).max(least)
}

/// What survives of a site: over the whole window, or since a late beginning when that explains it better.
pub(in crate::analysis) fn persistence(view: &View<'_>, looks: &Looks) -> Option<Persistence> {
    let whole = Persistence::at(view, looks.births.first()?)?;
    if whole.log_odds > 3.0 {
        return Some(whole);
    }
    match late_onset(view).and_then(|onset| Persistence::at(view, looks.since(onset)?)) {
        Some(late) if late.log_odds - LATE_PENALTY > whole.log_odds => Some(late),
        _ => Some(whole),
    }
}

/// Where growth began, when the site was level before and has since reached heights it never had.
fn late_onset(view: &View<'_>) -> Option<f64> {
    let floor = View::floor(&view.blocks);
    let (from, to) = (view.window.place_at(view.warm_up), view.window.place_at(LATEST));
    let (start, end) = (*floor.get(from)?, *floor.last()?);
    let growth = end - start;
    if growth <= 0.0 || from > to {
        return None;
    }
    let place = (from..=to).rev().find(|place| floor[*place] - start <= 0.1 * growth)?;
    let highest_before = view.blocks[..=place].iter().copied().fold(0.0, f64::max);
    let (first, span) = (view.window.seconds.first()?, view.window.span().max(1e-9));
    let onset = (view.window.seconds[place] - first) / span;
    let gave_back = deepest(view) > 0.3;
    (onset > view.warm_up + 0.1 && highest_before < 0.8 * end && !gave_back).then_some(onset)
}

/// The largest share of its blocks that it gave back.
fn deepest(view: &View<'_>) -> f64 {
    let from = view.window.place_at(view.warm_up / 2.0);
    let floor = View::floor(&view.blocks);
    let mut highest: f64 = 0.0;
    let mut deepest: f64 = 0.0;
    for (blocks, floor) in view.blocks.iter().zip(&floor).skip(from) {
        highest = highest.max(*blocks);
        if highest > 4.0 {
            deepest = deepest.max((highest - floor) / highest);
        }
    }
    deepest
}

pub(super) fn look(view: &View<'_>) -> Option<Evidence> {
    let found = view.persistence?;
    let (older, newer) = (found.older, found.newer);
    let born = older.births + newer.births;
    if born == 0.0 && older.survivors + newer.survivors == 0.0 {
        return None;
    }
    let mut log_odds = found.log_odds;
    if found.is_thin() {
        log_odds = log_odds.min(LIMIT_FEW_GENERATIONS);
    }
    if found.onset > view.warm_up {
        log_odds -= LATE_PENALTY;
    }
    log_odds = log_odds.clamp(-LIMIT, LIMIT);
    if view.profile.is_some_and(|profile| profile.log_odds > 1.5) {
        // Old blocks go, but ever later: that is no bound.
        log_odds = log_odds.max(LIMIT_BACKLOG);
    }
    if view.profile.is_some_and(|profile| profile.of_bytes) {
        // The same blocks grow, or are replaced by larger ones.
        log_odds = log_odds.max(0.0);
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
