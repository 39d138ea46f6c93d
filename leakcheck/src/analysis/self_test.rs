//! A positive control: would this very series have shown a leak? A gate that cannot fail proves nothing.
//!
//! One site that leaks at a known rate is planted into the moments and birth generations of a series, and judged by the rules
//! that judge the others: blocks of one size are born at random, evenly over time (a Poisson process with fixed seeds), and
//! stay; in sampled mode each is recorded with the probability that the recorder would have. The series' own sites are left out:
//! they change no verdict, as a finding of that probability is never displaced by others. Fails: it plants a steady leak; one
//! that comes in bursts or under churn takes longer.

use super::judge::judge;
use super::judgement::{JudgeOptions, Verdict};
use crate::model::{
    Amount, Counters, FoldedStack, Function, Mode, Point, Series, SiteKey, SiteSeries, SizeSummary, Survivors, fold,
};
use serde::Serialize;

/// Plantings, each with other moments of birth.
const TRIES: u64 = 20;
/// Seen in so many of them, a leak counts as seen: 95 % power.
const SEEN_MIN: u64 = 19;
/// Size of a planted block.
const BLOCK_BYTES: u64 = 256;
/// Recorded blocks of the leak that must be seen when the caller names no rate.
const BLOCKS_WANTED: f64 = 400.0;
/// The least leak is looked for between so many recorded blocks...
const BLOCKS_LEAST: f64 = 4.0;
/// ...and this many times as many, in steps of a factor.
const FACTOR: f64 = 1.5;
const STEPS: i32 = 18;

/// What a planted leak showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SelfTest {
    /// The rate planted: the caller's least rate, else one that leaves 400 recorded blocks in the run.
    pub planted_bytes_per_second: f64,
    /// Plantings.
    pub tries: u64,
    /// Those in which it was called leaking.
    pub seen: u64,
    /// Whether that is at least 19 in 20.
    pub passed: bool,
    /// The least rate that is seen in 19 of 20 plantings, to within a factor of 1.5; `None` when none is.
    pub least_bytes_per_second: Option<f64>,
    /// When it did not pass: how much longer to run for the planted rate to be seen, in milliseconds. The least rate falls as
    /// one over the length of the run. `None` when the series shows no rate at all.
    pub more_ms: Option<u64>,
}

/// Plants a leak into a series and looks whether it is seen.
#[must_use]
pub fn self_test(series: &Series, options: &JudgeOptions) -> SelfTest {
    let mut plot = series.without_sites();
    let span_s = series.moments.last().map_or(0.0, |last| last.elapsed_ms as f64 / 1000.0).max(1e-3);
    let share = match series.recording.mode {
        Mode::Exact => 1.0,
        Mode::Sampled { interval_bytes } => -(-(BLOCK_BYTES as f64) / interval_bytes.max(1) as f64).exp_m1(),
    };
    let rate_of = |recorded: f64| recorded / share * BLOCK_BYTES as f64 / span_s;
    let wanted = options.min_rate_bytes_per_second;
    let planted = if wanted > 0.0 { wanted } else { rate_of(BLOCKS_WANTED) };
    let mut seen = |rate: f64| {
        plot.sites = (1..=TRIES).map(|seed| leak(series, rate * share / BLOCK_BYTES as f64, share, seed)).collect();
        judge(&plot, options).findings.iter().filter(|finding| finding.verdict == Verdict::Leaking).count() as u64
    };
    let seen_planted = seen(planted);
    let at = |step: i32| rate_of(BLOCKS_LEAST * FACTOR.powi(step));
    // More is seen more often, so the place where it begins is found by halving.
    let (mut unseen, mut seen_from) = (-1, STEPS);
    while seen_from - unseen > 1 {
        let middle = unseen.midpoint(seen_from);
        if seen(at(middle)) >= SEEN_MIN { seen_from = middle } else { unseen = middle }
    }
    let passed = seen_planted >= SEEN_MIN;
    let least_bytes_per_second = (seen_from < STEPS).then(|| at(seen_from));
    let longer = |least: f64| ((least / planted - 1.0).max(0.1) * span_s * 1000.0) as u64;
    SelfTest {
        planted_bytes_per_second: planted,
        tries: TRIES,
        seen: seen_planted,
        passed,
        least_bytes_per_second,
        more_ms: least_bytes_per_second.filter(|_| !passed).map(longer),
    }
}

/// A site where `per_s` recorded blocks are born a second and stay, each of which stands for `1 / share` of them.
fn leak(series: &Series, per_s: f64, share: f64, seed: u64) -> SiteSeries {
    /// More blocks than this say no more: then each stands for several.
    const BIRTHS_MAX: f64 = 5_000.0;
    let end_ms = series.moments.last().map_or(0, |last| last.elapsed_ms) as f64;
    let together = (per_s * end_ms / 1000.0 / BIRTHS_MAX).max(1.0);
    let (per_s, share) = (per_s / together, share / together);
    let mut births_ms = Vec::new();
    let (mut random, mut now_ms) = (Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), 0.0);
    loop {
        now_ms += random.exponential() / per_s.max(1e-12) * 1000.0;
        if now_ms > end_ms {
            break;
        }
        births_ms.push(now_ms);
    }
    let block = Amount::new((1.0 / share).round() as u64, (BLOCK_BYTES as f64 / share).round() as u64);
    let times = |count: u64| Amount::new(block.blocks.saturating_mul(count), block.bytes.saturating_mul(count));
    let mut survivors: Vec<Survivors> = Vec::new();
    let mut points = Vec::new();
    let mut born = births_ms.iter().peekable();
    let mut count = 0_u64;
    for (place, moment) in series.moments.iter().enumerate() {
        while let Some(birth_ms) = born.next_if(|birth_ms| **birth_ms <= moment.elapsed_ms as f64) {
            count += 1;
            let begun = series.generations.partition_point(|one| one.started_elapsed_ms as f64 <= *birth_ms);
            let generation = series.generations.get(begun.saturating_sub(1)).map_or(0, |one| one.number);
            match survivors.last_mut().filter(|last| last.generation == generation) {
                Some(last) => {
                    last.blocks += block.blocks;
                    last.bytes += block.bytes;
                }
                None => survivors.push(Survivors { generation, blocks: block.blocks, bytes: block.bytes }),
            }
        }
        points.push(Point {
            moment: u32::try_from(place).unwrap_or(u32::MAX),
            counters: Counters { allocated: times(count), ..Counters::default() },
            generations_alive: u32::try_from(survivors.len()).unwrap_or(u32::MAX),
        });
    }
    SiteSeries {
        key: SiteKey { code: seed, lines: seed },
        stack: stack(),
        scope: None,
        points,
        survivors,
        before_fall: None,
        size: Some(SizeSummary { smallest: BLOCK_BYTES, largest: BLOCK_BYTES }),
        threads: Vec::new(),
        modules: Vec::new(),
    }
}

fn stack() -> FoldedStack {
    fold([&Function { name: "planted by leakcheck".into(), file: None, line: None }])
}

/// xorshift64*.
struct Random(u64);

impl Random {
    /// Exponentially distributed with mean 1.
    fn exponential(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        -((bits + 1) as f64 / (1_u64 << 53) as f64).ln()
    }
}
