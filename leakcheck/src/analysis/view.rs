//! One site as the rules see it.

use super::rules::{Looks, Persistence, Profile, persistence, profile};
use super::window::{Birth, Window};
use crate::model::{Mode, Series, SiteSeries};

/// The counts of one site over the judged moments.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) site: &'a SiteSeries,
    pub(super) window: &'a Window,
    /// Live blocks at each moment.
    pub(super) blocks: Vec<f64>,
    /// Live bytes at each moment.
    pub(super) bytes: Vec<f64>,
    /// Blocks allocated up to each moment.
    pub(super) allocated: Vec<f64>,
    /// Distinct birth generations with live blocks at each moment.
    pub(super) generations_alive: Vec<f64>,
    /// Births and survivors by generation, oldest first.
    pub(super) cohorts: Vec<Cohort>,
    /// Of the blocks counted, the share that was recorded: 1 in exact mode. Counts times this are what chance acts on.
    pub(super) recorded_share: f64,
    /// Judged from here on: the warm-up lies before, as a fraction of the span.
    pub(super) warm_up: f64,
    /// What survives; computed by the rule of that name, used by others as well.
    pub(super) persistence: Option<Persistence>,
    /// What is never given back; computed by the rule `floor`.
    pub(super) profile: Option<Profile>,
}

/// The blocks of one site that were born in one generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cohort {
    /// When the generation began and ended, as fractions of the judged span; may lie outside 0 to 1.
    pub(super) start: f64,
    pub(super) end: f64,
    /// Blocks born.
    pub(super) births: f64,
    /// Blocks of them live at the last moment.
    pub(super) survivors: f64,
    /// Bytes of those.
    pub(super) bytes: f64,
}

/// Some cohorts together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CohortSum {
    /// Their length, as a fraction of the span.
    pub(super) length: f64,
    pub(super) births: f64,
    pub(super) survivors: f64,
    pub(super) bytes: f64,
    /// Cohorts with survivors.
    pub(super) inhabited: u32,
    /// Cohorts.
    pub(super) count: u32,
}

impl<'a> View<'a> {
    pub(super) fn new(series: &Series, window: &'a Window, site: &'a SiteSeries, looks: &Looks) -> Self {
        let n = window.len();
        let mut view = Self {
            site,
            window,
            blocks: Vec::with_capacity(n),
            bytes: Vec::with_capacity(n),
            allocated: Vec::with_capacity(n),
            generations_alive: Vec::with_capacity(n),
            cohorts: Vec::new(),
            recorded_share: 1.0,
            warm_up: looks.warm_up(),
            persistence: None,
            profile: None,
        };
        for moment in &window.moments {
            let counters = site.at(*moment);
            view.blocks.push(counters.live().blocks as f64);
            view.bytes.push(counters.live().bytes as f64);
            view.allocated.push(counters.allocated.blocks as f64);
            view.generations_alive.push(f64::from(site.generations_alive_at(*moment)));
        }
        if let Mode::Sampled { interval_bytes } = series.recording.mode {
            let (blocks, bytes) = (view.last(&view.blocks), view.last(&view.bytes));
            let mean_size = if blocks > 0.0 { bytes / blocks } else { 1.0 };
            view.recorded_share = -(-mean_size / interval_bytes.max(1) as f64).exp_m1();
        }
        view.cohorts = view.find_cohorts();
        view.persistence = persistence(&view, looks);
        let onset = view.persistence.map_or(view.warm_up, |found| found.onset);
        view.profile = looks.moments_since(onset).and_then(|look| profile(&view, look));
        view
    }

    pub(super) fn last(&self, values: &[f64]) -> f64 {
        values.last().copied().unwrap_or(0.0)
    }

    /// Lets go of what only the rules need.
    pub(super) fn compact(&mut self) {
        self.allocated = Vec::new();
        self.generations_alive = Vec::new();
        self.cohorts = Vec::new();
    }

    /// Blocks allocated up to a fraction of the span, straight between moments.
    fn allocated_at(&self, at: f64) -> f64 {
        let (seconds, span) = (&self.window.seconds, self.window.span());
        let Some(first) = seconds.first() else { return 0.0 };
        let time = first + at * span;
        let after = seconds.partition_point(|seconds| *seconds < time - 1e-6);
        match (after.checked_sub(1), self.allocated.get(after)) {
            // What was allocated before the first moment is spread over the time before it.
            (None, Some(value)) => value * (time / first.max(1e-9)).clamp(0.0, 1.0),
            (Some(before), Some(value)) => {
                let share = (time - seconds[before]) / (seconds[after] - seconds[before]).max(1e-9);
                self.allocated[before] + share.clamp(0.0, 1.0) * (value - self.allocated[before])
            }
            (_, None) => self.last(&self.allocated),
        }
    }

    fn find_cohorts(&self) -> Vec<Cohort> {
        let alive = self.site.survivors_at(self.window.moments.last().copied().unwrap_or(0));
        let cohort = |birth: &Birth| {
            let found = alive.binary_search_by_key(&birth.generation, |one| one.generation);
            let (survivors, bytes) = found.map_or((0, 0), |at| {
                let one = alive[at];
                (one.blocks, one.bytes)
            });
            Cohort {
                start: birth.start,
                end: birth.end,
                births: (self.allocated_at(birth.end) - self.allocated_at(birth.start)).max(0.0),
                survivors: survivors as f64,
                bytes: bytes as f64,
            }
        };
        self.window.generations.iter().map(cohort).collect()
    }

    /// The cohorts whose middle lies between two fractions of the span.
    pub(super) fn cohorts_between(&self, from: f64, to: f64) -> CohortSum {
        let mut sum = CohortSum::default();
        for cohort in &self.cohorts {
            let middle = (cohort.start + cohort.end) / 2.0;
            if middle >= from && middle < to {
                sum.length += cohort.end - cohort.start;
                sum.births += cohort.births.max(cohort.survivors);
                sum.survivors += cohort.survivors;
                sum.bytes += cohort.bytes;
                sum.inhabited += u32::from(cohort.survivors > 0.0);
                sum.count += 1;
            }
        }
        sum
    }

    /// At each moment the least of all later values: what was never given back since.
    pub(super) fn floor(values: &[f64]) -> Vec<f64> {
        let mut floor = values.to_vec();
        for place in (1..floor.len()).rev() {
            floor[place - 1] = floor[place - 1].min(floor[place]);
        }
        floor
    }

    /// Whether the site holds a few blocks whose number stays while their bytes change, or a few that each come with a
    /// large step: chunks that double.
    pub(super) fn is_few_blocks(&self) -> bool {
        let from = self.window.place_at(self.warm_up).min(self.blocks.len());
        let (blocks, bytes) = (&self.blocks[from..], &self.bytes[from..]);
        let (least, most) = blocks.iter().fold((f64::MAX, 0.0_f64), |(least, most), v| (least.min(*v), most.max(*v)));
        if most <= 0.0 || most > CHUNKS_MAX {
            return false;
        }
        // A table may be seen twice while it moves.
        if most <= 4.0 && most - least <= 1.0 && blocks.first() == blocks.last() {
            return true;
        }
        let risen = |place: &usize| blocks[place + 1] > blocks[*place];
        let rises: Vec<usize> = (0..blocks.len().saturating_sub(1)).filter(risen).collect();
        let never_falls = blocks.windows(2).all(|pair| pair[0] <= pair[1]);
        // Each new one is larger than those before it.
        let is_chunk = |place: &usize| {
            let (before, came) = (bytes[*place], bytes[place + 1] - bytes[*place]);
            came >= 0.4 * before
                && came > 1.3 * (before / blocks[*place].max(1.0)) * (blocks[place + 1] - blocks[*place])
        };
        never_falls && most - least <= 6.0 && !rises.is_empty() && rises.iter().all(is_chunk)
    }
}

/// A site with more blocks is none of a few large chunks.
const CHUNKS_MAX: f64 = 32.0;
