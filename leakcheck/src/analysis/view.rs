//! One site as the rules see it.

use super::window::Window;
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
    /// Birth generations begun up to each moment.
    pub(super) generations: Vec<f64>,
    /// Births and survivors by generation, oldest first.
    pub(super) cohorts: Vec<Cohort>,
    /// Of the blocks counted, the share that was recorded: 1 in exact mode. Counts times this are what chance acts on.
    pub(super) recorded_share: f64,
    /// Judged from here on: the warm-up lies before, as a fraction of the span.
    pub(super) warm_up: f64,
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
    /// Sum of squares of survivors, for their dispersion.
    squares: f64,
}

impl CohortSum {
    /// Variance over mean of the survivors per cohort: 1 for independent single blocks, more for clumps.
    pub(super) fn dispersion(&self, share: f64) -> f64 {
        if self.count < 2 || self.survivors <= 0.0 {
            return 1.0;
        }
        let (n, share) = (f64::from(self.count), share.min(1.0));
        let mean = self.survivors / n;
        let variance = (self.squares / n - mean * mean).max(0.0) * n / (n - 1.0);
        (variance * share / mean).max(1.0)
    }
}

impl<'a> View<'a> {
    pub(super) fn new(series: &Series, window: &'a Window, site: &'a SiteSeries, warm_up: f64) -> Self {
        let n = window.len();
        let mut view = Self {
            site,
            window,
            blocks: Vec::with_capacity(n),
            bytes: Vec::with_capacity(n),
            allocated: Vec::with_capacity(n),
            generations_alive: Vec::with_capacity(n),
            generations: Vec::with_capacity(n),
            cohorts: Vec::new(),
            recorded_share: 1.0,
            warm_up,
        };
        for moment in &window.moments {
            let counters = site.at(*moment);
            view.blocks.push(counters.live().blocks as f64);
            view.bytes.push(counters.live().bytes as f64);
            view.allocated.push(counters.allocated.blocks as f64);
            view.generations_alive.push(f64::from(site.generations_alive_at(*moment)));
            let elapsed_ms = series.moments[*moment].elapsed_ms;
            let begun = series.generations.partition_point(|g| g.started_elapsed_ms < elapsed_ms);
            view.generations.push(begun.max(1) as f64);
        }
        if let Mode::Sampled { interval_bytes } = series.recording.mode {
            let (blocks, bytes) = (view.last(&view.blocks), view.last(&view.bytes));
            let mean_size = if blocks > 0.0 { bytes / blocks } else { 1.0 };
            view.recorded_share = -(-mean_size / interval_bytes.max(1) as f64).exp_m1();
        }
        view.cohorts = view.find_cohorts(series);
        view
    }

    pub(super) fn last(&self, values: &[f64]) -> f64 {
        values.last().copied().unwrap_or(0.0)
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

    fn find_cohorts(&self, series: &Series) -> Vec<Cohort> {
        let (Some(first), Some(last)) = (self.window.seconds.first(), self.window.seconds.last()) else {
            return Vec::new();
        };
        let span = self.window.span().max(1e-9);
        let start_of = |g: &crate::model::Generation| self.window.active(g.started_elapsed_ms as f64 / 1000.0);
        let starts: Vec<f64> = series.generations.iter().map(start_of).collect();
        let mut cohorts = Vec::new();
        for (place, generation) in series.generations.iter().enumerate() {
            let start = starts[place];
            let end = starts.get(place + 1).copied().unwrap_or(*last).min(*last);
            if end <= start {
                continue;
            }
            let (start, end) = ((start - first) / span, (end - first) / span);
            let survivors =
                self.site.survivors.binary_search_by_key(&generation.number, |s| s.generation).map_or((0, 0), |at| {
                    let one = self.site.survivors[at];
                    (one.blocks, one.bytes)
                });
            cohorts.push(Cohort {
                start,
                end,
                births: (self.allocated_at(end) - self.allocated_at(start)).max(0.0),
                survivors: survivors.0 as f64,
                bytes: survivors.1 as f64,
            });
        }
        cohorts
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
                sum.squares += cohort.survivors * cohort.survivors;
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

    /// Whether the site holds a few blocks whose number stays while their bytes change.
    pub(super) fn is_few_blocks(&self) -> bool {
        let from = self.window.place_at(self.warm_up);
        let late = &self.blocks[from.min(self.blocks.len())..];
        let (least, most) = late.iter().fold((f64::MAX, 0.0_f64), |(least, most), v| (least.min(*v), most.max(*v)));
        most > 0.0 && most <= 4.0 && most - least <= 1.0
    }
}
