//! Which moments of a series are judged.

use crate::model::{Reason, Series};

/// The moments to judge, with their times.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Places in [`Series::moments`], in order of time.
    pub(super) moments: Vec<usize>,
    /// Seconds since the recording began, strictly rising.
    pub(super) seconds: Vec<f64>,
    /// Loop turns, as the program marked them; never falling.
    pub(super) iterations: Vec<f64>,
}

impl Window {
    /// Leaves out the snapshot at exit, when much was dropped already; snapshots right before it that show the program
    /// tearing down; and those whose clock does not advance.
    pub(super) fn of(series: &Series) -> Self {
        let mut window = Self { moments: Vec::new(), seconds: Vec::new(), iterations: Vec::new() };
        for (place, moment) in series.moments.iter().enumerate() {
            let seconds = moment.elapsed_ms as f64 / 1000.0;
            let advances = window.seconds.last().is_none_or(|last| seconds > *last);
            if moment.reason != Reason::Exit && advances {
                let turns = window.iterations.last().copied().unwrap_or(0.0).max(moment.iterations as f64);
                window.moments.push(place);
                window.seconds.push(seconds);
                window.iterations.push(turns);
            }
        }
        window.drop_teardown(series);
        window
    }

    /// A program that ends drops its state, sometimes over more than one interval: a fall of the total to under two
    /// thirds in the last two snapshots before the end is not judged.
    fn drop_teardown(&mut self, series: &Series) {
        const TEARDOWN_MOMENTS: usize = 2;
        let ends = series.moments.last().is_some_and(|last| matches!(last.reason, Reason::Exit | Reason::Stop));
        let live = |place: usize| series.moments[self.moments[place]].totals.live().blocks as f64;
        let n = self.moments.len();
        if !ends || n < 8 {
            return;
        }
        let before = live(n - 1 - TEARDOWN_MOMENTS);
        for cut in (n - TEARDOWN_MOMENTS)..n {
            if live(cut) < before * 2.0 / 3.0 {
                self.moments.truncate(cut);
                self.seconds.truncate(cut);
                self.iterations.truncate(cut);
                return;
            }
        }
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

    /// The first place at or after the fraction `at` of the span.
    pub(super) fn place_at(&self, at: f64) -> usize {
        let Some(first) = self.seconds.first() else { return 0 };
        let time = first + at * self.span();
        self.seconds.partition_point(|seconds| *seconds < time - 1e-9).min(self.len().saturating_sub(1))
    }
}
