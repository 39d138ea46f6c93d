//! Restarts: a program that grows until it is killed or restarted, again and again, draws a sawtooth over its processes.
//! No single life need be long enough for a verdict; that each one grows as the others did is one.
//!
//! Looks at totals only, and does not say which site grows: that is for `judge`, within the longest life.

use super::judgement::{Rate, Verdict};
use super::statistics::{median, quantile};
use super::window::Window;
use crate::model::Series;

/// Fewer lives than this are no pattern.
const LIVES_MIN: usize = 3;
/// A life must have grown by this factor from its early level to its end.
const GROWTH_MIN: f64 = 1.2;
/// In the second half of the time since it grows at this share of its rate in the first, or faster.
const GOES_ON: f64 = 0.6;
/// Rates of growth agree within this factor of their median.
const AGREE: f64 = 3.0;

/// A sawtooth of restarts.
#[derive(Debug, Clone, PartialEq)]
pub struct Restarts {
    /// Processes of one executable on one host, one after the other.
    pub lives: usize,
    /// Their places in the list of series given, in order of time.
    pub series: Vec<usize>,
    /// How long a life lasts, the median, in milliseconds.
    pub life_ms: u64,
    /// Live bytes at the end of a life, the median.
    pub peak_bytes: u64,
    /// Growth of live bytes within a life: the median, with the range of the middle half as far as it tells.
    pub rate_bytes_per_second: Rate,
    /// One sentence.
    pub text: String,
}

impl Restarts {
    /// Whether it stands beside what `judge` says of each series given, in the same order: lives that are bounded, or whose
    /// leaks are accepted or known, explain themselves, so it does not stand when more than half of them are *bounded*.
    #[must_use]
    pub fn stands_beside(&self, verdicts: &[Verdict]) -> bool {
        let lives = self.series.iter().filter_map(|place| verdicts.get(*place));
        let bounded = lives.filter(|verdict| **verdict == Verdict::Bounded).count();
        bounded * 2 <= self.series.len()
    }
}

/// Finds a sawtooth of restarts among the series of several processes, in any order. Only lives that do not overlap count:
/// workers beside each other are no restarts.
#[must_use]
pub fn restarts(series: &[&Series]) -> Option<Restarts> {
    let mut best: Option<Restarts> = None;
    for one in series {
        let program = |place: &usize| {
            let (a, b) = (&one.process, &series[*place].process);
            (&a.executable, &a.host) == (&b.executable, &b.host)
        };
        let mut places: Vec<usize> = (0..series.len()).filter(program).collect();
        places.sort_by_key(|place| (series[*place].process.started_unix_ms, series[*place].process.pid));
        let same: Vec<&Series> = places.iter().map(|place| series[*place]).collect();
        let found = sawtooth(&same).map(|found| Restarts { series: places, ..found });
        if found.as_ref().map_or(0, |found| found.lives) > best.as_ref().map_or(0, |best| best.lives) {
            best = found;
        }
    }
    best
}

/// One life: how long it was, what it held at its end, and how fast it grew after its warm-up.
struct Life {
    ms: u64,
    peak_bytes: f64,
    bytes_per_s: f64,
    grew: bool,
}

impl Life {
    fn of(series: &Series) -> Option<Self> {
        let moments = Window::of(series).moments.into_iter().map(|place| &series.moments[place]);
        let judged: Vec<(u64, f64)> =
            moments.map(|moment| (moment.elapsed_ms, moment.totals.live().bytes as f64)).collect();
        let (last_ms, peak_bytes) = *judged.last()?;
        // After a quarter of the life, so that loading at its start is no growth.
        let (early_ms, early) = *judged.iter().find(|(ms, _)| *ms >= last_ms / 4)?;
        let seconds = last_ms.saturating_sub(early_ms) as f64 / 1000.0;
        let (middle_ms, middle) = *judged.iter().find(|(ms, _)| *ms >= u64::midpoint(early_ms, last_ms))?;
        // What warms up grows less and less; so does what fills.
        let before = (middle - early) / middle_ms.saturating_sub(early_ms).max(1) as f64;
        let since = (peak_bytes - middle) / last_ms.saturating_sub(middle_ms).max(1) as f64;
        let goes_on = middle_ms < last_ms && since >= GOES_ON * before;
        (judged.len() >= 3 && seconds > 0.0).then(|| Self {
            ms: last_ms,
            peak_bytes,
            bytes_per_s: (peak_bytes - early) / seconds,
            grew: peak_bytes >= GROWTH_MIN * early.max(1.0) && goes_on,
        })
    }
}

fn sawtooth(lives: &[&Series]) -> Option<Restarts> {
    let begins = |life: &Series| life.process.started_unix_ms;
    let ends = |life: &Series| {
        let last = life.moments.last().map_or(0, |moment| moment.elapsed_ms);
        life.recording.started_unix_ms.saturating_add(last)
    };
    if lives.windows(2).any(|pair| begins(pair[1]) < ends(pair[0])) {
        return None;
    }
    let lives: Vec<Life> = lives.iter().filter_map(|life| Life::of(life)).collect();
    // The last one may still be young.
    let (_, ended) = lives.split_last()?;
    if lives.len() < LIVES_MIN || !ended.iter().all(|life| life.grew) {
        return None;
    }
    let mut rates: Vec<f64> = ended.iter().map(|life| life.bytes_per_s).collect();
    let estimate = median(&mut rates);
    if rates.iter().any(|rate| *rate > AGREE * estimate || *rate * AGREE < estimate) {
        return None;
    }
    let rate = Rate { estimate, low: quantile(&mut rates, 0.25), high: quantile(&mut rates, 0.75) };
    let life_ms = median(&mut ended.iter().map(|life| life.ms as f64).collect::<Vec<f64>>()) as u64;
    let peak_bytes = median(&mut ended.iter().map(|life| life.peak_bytes).collect::<Vec<f64>>()) as u64;
    let text = format!(
        "{} processes of this program followed each other, and each grew until it ended: to about {:.1} MiB within {:.0} s; \
         the restarts hide a leak",
        lives.len(),
        peak_bytes as f64 / f64::from(1 << 20),
        life_ms as f64 / 1000.0
    );
    Some(Restarts { lives: lives.len(), series: Vec::new(), life_ms, peak_bytes, rate_bytes_per_second: rate, text })
}
