//! Restarts: a program that grows until it is killed or restarted, again and again, draws a sawtooth over its processes.
//! No single life need be long enough for a verdict; that each one grows as the others did is one.
//!
//! Workers beside each other are told apart by time: a life that is over can only be followed by one that begins later.
//!
//! Looks at totals only (live blocks, or what the kernel says where nothing is recorded), and does not say which site grows: that is for `judge`, within the longest life.

use super::judgement::{Rate, Verdict};
use super::resources::held_bytes;
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
    /// Processes of one executable on one host and of one parent, one after the other.
    pub lives: usize,
    /// Their places in the list of series given, in order of time.
    pub series: Vec<usize>,
    /// How long a life lasts, the median, in milliseconds.
    pub life_ms: u64,
    /// Bytes held at the end of a life, the median.
    pub peak_bytes: u64,
    /// Growth of these within a life: the median, with the range of the middle half as far as it tells.
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

/// Finds a sawtooth of restarts among the series of several processes, in any order. Workers beside each other are sorted
/// into chains of lives that follow each other, and each chain is looked at alone; of several the one with most lives is
/// told.
#[must_use]
pub fn restarts(series: &[&Series]) -> Option<Restarts> {
    let mut best: Option<Restarts> = None;
    for places in chains(series) {
        let lives: Vec<&Series> = places.iter().map(|place| series[*place]).collect();
        let found = sawtooth(&lives).map(|found| Restarts { series: places, ..found });
        if found.as_ref().map_or(0, |found| found.lives) > best.as_ref().map_or(0, |best| best.lives) {
            best = found;
        }
    }
    best
}

const fn begins(life: &Series) -> u64 {
    life.process.started_unix_ms
}

fn ends(life: &Series) -> u64 {
    let last = life.moments.last().map_or(0, |moment| moment.elapsed_ms);
    life.recording.started_unix_ms.saturating_add(last)
}

/// Lives of one program that follow each other. A life joins the chain that ended last before it began, unless that was
/// too long before: then its supervisor would have started it earlier.
fn chains(series: &[&Series]) -> Vec<Vec<usize>> {
    /// A supervisor waits before it starts a program anew.
    const GAP_MS: u64 = 30_000;
    let mut places: Vec<usize> = (0..series.len()).collect();
    places.sort_by_key(|place| (begins(series[*place]), series[*place].process.pid));
    let is_same = |a: &Series, b: &Series| {
        let (a, b) = (&a.process, &b.process);
        let parents = a.parent_pid.zip(b.parent_pid);
        a.executable == b.executable && a.host == b.host && parents.is_none_or(|(a, b)| a == b)
    };
    let life_ms = |one: &Series| ends(one).saturating_sub(begins(one)) as f64;
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for place in places {
        let life = series[place];
        let usual =
            median(&mut series.iter().filter(|one| is_same(one, life)).map(|one| life_ms(one)).collect::<Vec<f64>>());
        let gap_ms = GAP_MS.max((usual / 2.0) as u64);
        let fitting = chains.iter_mut().filter_map(|chain| {
            let last = series[*chain.last()?];
            let ended = ends(last);
            let follows = ended <= begins(life) && begins(life) - ended <= gap_ms;
            (is_same(last, life) && follows).then_some((ended, chain))
        });
        match fitting.max_by_key(|(ended, _)| *ended) {
            Some((_, chain)) => chain.push(place),
            None => chains.push(vec![place]),
        }
    }
    chains
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
        let source = series.recording.source;
        let judged: Vec<(u64, f64)> =
            moments.map(|moment| (moment.elapsed_ms, held_bytes(source, moment) as f64)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::made_up_kernel_series;

    const MIB: f64 = 1_048_576.0;

    /// Lives of one worker after the other: when each begins and how long it is, in seconds, with memory in MiB by time.
    fn worker(parent: u32, lives: &[(u64, u64)], mib: fn(f64) -> f64) -> Vec<Series> {
        let life = |(place, (from_s, length_s)): (usize, &(u64, u64))| {
            let pid = parent * 100 + *from_s as u32 * 10 + place as u32;
            let bytes: Vec<u64> = (0..*length_s).map(|second| (mib(second as f64) * MIB) as u64).collect();
            made_up_kernel_series(pid, Some(parent), from_s * 1000, &bytes)
        };
        lives.iter().enumerate().map(life).collect()
    }

    #[track_caller]
    fn check(series: Vec<Series>, expected: Option<usize>) {
        let all: Vec<&Series> = series.iter().collect();
        let found = restarts(&all);
        assert_eq!(found.as_ref().map(|found| found.lives), expected, "{found:?}");
    }

    fn lives(count: u64, length_s: u64, offset_s: u64) -> Vec<(u64, u64)> {
        (0..count).map(|life| (offset_s + life * (length_s + 2), length_s)).collect()
    }

    /// A loader's ramp in the first two seconds, then growth.
    fn leaky(second: f64) -> f64 {
        20.0 * (second / 2.0).min(1.0) + second
    }

    fn level(second: f64) -> f64 {
        20.0 * (second / 2.0).min(1.0)
    }

    fn warms_up(second: f64) -> f64 {
        20.0 + 20.0 * (1.0 - (-second / 8.0).exp())
    }

    #[test]
    fn one_worker_that_is_restarted_again_and_again() {
        check(worker(1, &lives(5, 40, 0), leaky), Some(5));
        check(worker(1, &lives(2, 40, 0), leaky), None);
    }

    #[test]
    fn one_of_four_workers_is_restarted_while_the_others_live_on() {
        let mut all = worker(1, &lives(5, 40, 0), leaky);
        for sibling in 0..3 {
            all.extend(worker(1, &[(sibling, 210)], level));
        }
        check(all, Some(5));
    }

    #[test]
    fn two_leaky_workers_beside_each_other_are_two_chains() {
        let mut all = worker(1, &lives(4, 40, 0), leaky);
        all.extend(worker(1, &lives(5, 40, 20), leaky));
        check(all, Some(5));
    }

    #[test]
    fn healthy_programs_that_are_deployed_anew_are_none() {
        check(worker(1, &lives(5, 40, 0), level), None);
        check(worker(1, &lives(5, 40, 0), warms_up), None);
        // Programs that have nothing to do with each other, each after a long pause.
        check(worker(1, &[(0, 40), (400, 40), (800, 40), (1200, 40)], leaky), None);
    }

    #[test]
    fn children_of_different_parents_do_not_follow_each_other() {
        let all = (0..4_u32).flat_map(|parent| worker(parent + 1, &[(u64::from(parent) * 42, 40)], leaky)).collect();
        check(all, None);
    }
}
