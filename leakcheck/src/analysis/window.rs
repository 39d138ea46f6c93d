//! Which moments of a series are judged.

use super::resources::memory;
use super::statistics::median;
use crate::model::{Reason, Series, Source};

/// The moments to judge, with their times.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Places in [`Series::moments`], in order of time.
    pub(super) moments: Vec<usize>,
    /// Active seconds since the recording began, strictly rising: time in which the program allocated less than it usually
    /// does is shortened in proportion, and time in which it caught up is lengthened. A program that waits, or a machine
    /// that stands still, proves nothing.
    pub(super) seconds: Vec<f64>,
    /// The same moments by the clock.
    clock: Vec<f64>,
    /// Loop turns, as the program marked them; never falling.
    pub(super) iterations: Vec<f64>,
    /// Birth generations begun up to each moment.
    pub(super) generations_begun: Vec<f64>,
    /// Birth generations that overlap the judged time, oldest first.
    pub(super) generations: Vec<Birth>,
}

/// When the blocks of one generation were born.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    /// Its number.
    pub(super) generation: u32,
    /// When it began and ended, as fractions of the judged span; may lie outside 0 to 1.
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Window {
    /// Leaves out the snapshot at exit, when much was dropped already; snapshots right before it that show the program
    /// tearing down; and those whose clock does not advance.
    pub(super) fn of(series: &Series) -> Self {
        let mut window = Self {
            moments: Vec::new(),
            seconds: Vec::new(),
            clock: Vec::new(),
            iterations: Vec::new(),
            generations_begun: Vec::new(),
            generations: Vec::new(),
        };
        for (place, moment) in series.moments.iter().enumerate() {
            let clock = moment.elapsed_ms as f64 / 1000.0;
            let advances = window.clock.last().is_none_or(|last| clock > *last);
            if moment.reason != Reason::Exit && advances {
                let turns = window.iterations.last().copied().unwrap_or(0.0).max(moment.iterations as f64);
                window.moments.push(place);
                window.clock.push(clock);
                window.iterations.push(turns);
            }
        }
        window.drop_teardown(series);
        window.seconds = window.active_seconds(series);
        window.generations = window.births(series);
        let begun = |moment: &usize| {
            let elapsed_ms = series.moments[*moment].elapsed_ms;
            series.generations.partition_point(|one| one.started_elapsed_ms < elapsed_ms).max(1) as f64
        };
        window.generations_begun = window.moments.iter().map(begun).collect();
        window
    }

    fn births(&self, series: &Series) -> Vec<Birth> {
        let (Some(first), Some(last)) = (self.seconds.first(), self.seconds.last()) else { return Vec::new() };
        let span = self.span().max(1e-9);
        let starts: Vec<f64> =
            series.generations.iter().map(|one| self.active(one.started_elapsed_ms as f64 / 1000.0)).collect();
        let mut births = Vec::new();
        for (place, generation) in series.generations.iter().enumerate() {
            let start = starts[place];
            let end = starts.get(place + 1).copied().unwrap_or(*last).min(*last);
            if end > start {
                let (start, end) = ((start - first) / span, (end - first) / span);
                births.push(Birth { generation: generation.number, start, end });
            }
        }
        births
    }

    fn active_seconds(&self, series: &Series) -> Vec<f64> {
        /// Between these shares of the usual allocations an interval counts as it is.
        const USUAL: std::ops::Range<f64> = 0.75..1.33;
        /// So that time never stands still altogether, nor leaps.
        const LEAST: f64 = 1e-3;
        const MOST: f64 = 2.0;
        let allocated = |place: &usize| series.moments[*place].totals.allocated.blocks as f64;
        let intervals = || self.clock.windows(2).zip(self.moments.windows(2));
        let rate = |(clock, moments): (&[f64], &[usize])| {
            (allocated(&moments[1]) - allocated(&moments[0])).max(0.0) / (clock[1] - clock[0])
        };
        let usual = median(&mut intervals().map(rate).collect::<Vec<f64>>());
        let mut active = self.clock.first().copied().into_iter().collect::<Vec<f64>>();
        for (clock, moments) in intervals() {
            let share = if usual > 0.0 { rate((clock, moments)) / usual } else { 1.0 };
            let share = if USUAL.contains(&share) { 1.0 } else { share.clamp(LEAST, MOST) };
            let before = active.last().copied().unwrap_or(0.0);
            active.push(before + (clock[1] - clock[0]) * share);
        }
        active
    }

    /// A time by the clock in active seconds.
    pub(super) fn active(&self, clock: f64) -> f64 {
        let after = self.clock.partition_point(|moment| *moment < clock);
        match (after.checked_sub(1), self.clock.get(after)) {
            (None, Some(_)) => clock,
            (Some(before), Some(next)) => {
                let share = (clock - self.clock[before]) / (next - self.clock[before]);
                self.seconds[before] + share * (self.seconds[after] - self.seconds[before])
            }
            (_, None) => self.seconds.last().copied().unwrap_or(clock),
        }
    }

    /// A program that ends drops its state, sometimes over more than one interval: a fall of the total to under two
    /// thirds in the last two snapshots before the end is not judged. Nor is a snapshot taken right before the end.
    fn drop_teardown(&mut self, series: &Series) {
        const TEARDOWN_MOMENTS: usize = 2;
        /// Of the usual interval between snapshots.
        const RIGHT_BEFORE: f64 = 0.1;
        if let Some(exit) = series.moments.last().filter(|last| last.reason == Reason::Exit) {
            let usual = median(&mut self.clock.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f64>>());
            let end = exit.elapsed_ms as f64 / 1000.0;
            if self.clock.last().is_some_and(|last| end - last < RIGHT_BEFORE * usual) {
                self.cut_at(self.moments.len() - 1);
            }
        }
        // From outside the end of a process is not always seen as such.
        let ends = series.recording.source == Source::Kernel
            || series.moments.last().is_some_and(|last| matches!(last.reason, Reason::Exit | Reason::Stop));
        let live = |place: usize| {
            let moment = &series.moments[self.moments[place]];
            match series.recording.source {
                Source::Recorder => moment.totals.live().blocks as f64,
                Source::Kernel => moment.resident.as_ref().map_or(0.0, |resident| memory(resident) as f64),
            }
        };
        let n = self.moments.len();
        if !ends || n < 8 {
            return;
        }
        let before = live(n - 1 - TEARDOWN_MOMENTS);
        for cut in (n - TEARDOWN_MOMENTS)..n {
            if live(cut) < before * 2.0 / 3.0 {
                self.cut_at(cut);
                return;
            }
        }
    }

    fn cut_at(&mut self, len: usize) {
        self.moments.truncate(len);
        self.clock.truncate(len);
        self.iterations.truncate(len);
    }

    /// The time of a moment by the clock, in milliseconds since the recording began.
    pub(super) fn clock_ms(&self, place: usize) -> Option<u64> {
        self.clock.get(place).map(|seconds| (seconds * 1000.0) as u64)
    }

    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Seconds from the first moment to the last.
    pub(super) fn span(&self) -> f64 {
        match (self.seconds.first(), self.seconds.last()) {
            (Some(first), Some(last)) => last - first,
            _ => 0.0,
        }
    }

    /// The last place at or before the fraction `at` of the span.
    pub(super) fn place_before(&self, at: f64) -> usize {
        let Some(first) = self.seconds.first() else { return 0 };
        let time = first + at * self.span();
        self.seconds.partition_point(|seconds| *seconds <= time + 1e-9).saturating_sub(1)
    }

    /// The first place at or after the fraction `at` of the span.
    pub(super) fn place_at(&self, at: f64) -> usize {
        let Some(first) = self.seconds.first() else { return 0 };
        let time = first + at * self.span();
        self.seconds.partition_point(|seconds| *seconds < time - 1e-9).min(self.len().saturating_sub(1))
    }
}
