//! Whether a figure of the whole process, one number a moment, keeps growing: steadily, not any more, or nobody can tell.
//!
//! Nothing is known of single blocks here, so a step, a warm-up, a wave and a walk at random must be told from a leak by
//! shape alone. Called *leaking* is only what rises evenly in all parts of the time, at its floor, by far more than its
//! noise. Does not know what the figure means: sizes that matter come from the caller.

use super::judgement::{Rate, Verdict};
use super::statistics::{median, quantile, theil_sen};

/// Fewer moments after the warm-up than this cannot show that growth is steady.
const MOMENTS_MIN: usize = 16;
/// Fewer rises of the floor than this are steps, not a steady growth.
const RISES_MIN: usize = 6;
/// How many blocks of time the floor is taken of, and by how many standard errors their mean rise must stand above zero.
/// Fewer blocks bear longer sawtooths and need more.
const BLOCKS: [(usize, f64); 3] = [(6, 9.0), (12, 5.5), (24, 5.0)];
/// Moments that a block needs.
const BLOCK_MOMENTS_MIN: usize = 3;
/// No block of six has more than this share of the whole rise.
const ONE_BLOCK_MAX: f64 = 0.45;
/// The parts of the time, and the least rate in each as a share of the mean rate, errors allowed for.
const PARTS: [(f64, f64, f64); 5] =
    [(0.0, 0.2, 0.55), (0.0, 1.0 / 3.0, 0.65), (0.5, 1.0, 0.9), (2.0 / 3.0, 1.0, 0.8), (0.8, 1.0, 0.75)];
/// The last third, and half, grow at this share of the rate of the first, errors allowed for.
const SLOWED: f64 = 0.92;

/// What matters of a figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Growth below this is not worth a word.
    pub(super) growth_min: f64,
    /// Nor is growth below this share of the level.
    pub(super) share_min: f64,
    /// Changes up to this are rest.
    pub(super) rest: f64,
}

/// How a figure went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) verdict: Verdict,
    pub(super) probability: f64,
    /// A second.
    pub(super) rate: Option<Rate>,
    /// Whether it never fell back after the warm-up by more than its noise.
    pub(super) never_fell_back: bool,
}

/// Judges values after the warm-up, at times that strictly rise.
pub(super) fn course(seconds: &[f64], values: &[f64], scale: Scale) -> Course {
    let noise = noise(values);
    let rate =
        theil_sen(seconds, values).map(|slope| Rate { estimate: slope.estimate, low: slope.low, high: slope.high });
    let strength = steadiness(seconds, values, scale, noise);
    let (verdict, probability) = match strength {
        Some(strength) if rate.is_some_and(|rate| rate.low > 0.0) => {
            (Verdict::Leaking, 1.0 - 0.05 * (1.0 - strength).exp())
        }
        _ if is_at_rest(seconds, values, scale, noise) => (Verdict::Bounded, 0.03),
        _ => (Verdict::Inconclusive, if strength.is_some() { 0.8 } else { 0.4 }),
    };
    Course { verdict, probability, rate, never_fell_back: drawdown(values) <= scale.rest.max(4.0 * noise) }
}

/// The standard deviation of the noise, from how neighbours differ beyond their trend.
fn noise(values: &[f64]) -> f64 {
    let mut differences: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = median(&mut differences);
    let mut deviations: Vec<f64> = differences.iter().map(|one| (one - middle).abs()).collect();
    1.4826 * median(&mut deviations) / std::f64::consts::SQRT_2
}

/// The deepest fall from a height before.
fn drawdown(values: &[f64]) -> f64 {
    let (mut highest, mut deepest) = (f64::NEG_INFINITY, 0.0_f64);
    for value in values {
        highest = highest.max(*value);
        deepest = deepest.max(highest - value);
    }
    deepest
}

/// The values in `count` stretches of equal time.
fn blocks<'a>(seconds: &[f64], values: &'a [f64], count: usize) -> Vec<&'a [f64]> {
    (0..count)
        .map(|block| part(seconds, values, block as f64 / count as f64, (block + 1) as f64 / count as f64).1)
        .collect()
}

/// The moments between two fractions of the time.
fn part<'a, 'b>(seconds: &'b [f64], values: &'a [f64], from: f64, to: f64) -> (&'b [f64], &'a [f64]) {
    let (Some(first), Some(last)) = (seconds.first(), seconds.last()) else { return (seconds, values) };
    let place = |at: f64| seconds.partition_point(|one| *one < first + at * (last - first) - 1e-9);
    let to = if to >= 1.0 { seconds.len() } else { place(to) };
    let from = place(from).min(to);
    (&seconds[from..to], &values[from..to])
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// By how many times the rise of the floor exceeds what is asked for, when the growth is large, even, and goes on.
fn steadiness(seconds: &[f64], values: &[f64], scale: Scale, noise: f64) -> Option<f64> {
    if values.len() < MOMENTS_MIN {
        return None;
    }
    let floors: Vec<f64> = blocks(seconds, values, 6).into_iter().map(least).collect();
    if floors.iter().any(|floor| !floor.is_finite()) {
        return None;
    }
    let rise = floors[5] - floors[0];
    let rises: Vec<f64> = floors.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let is_large = rise >= scale.growth_min.max(scale.share_min * floors[0]).max(6.0 * noise);
    let is_everywhere = rises.iter().all(|one| *one > 0.0 && *one <= ONE_BLOCK_MAX * rise);
    if !is_large || !is_everywhere || rises_of_floor(values) < RISES_MIN || !is_even(seconds, values) {
        return None;
    }
    let strengths = BLOCKS.iter().filter_map(|(count, wanted)| Some(significance(seconds, values, *count)? / wanted));
    let strength = strengths.fold(0.0, f64::max);
    (strength >= 1.0).then_some(strength)
}

/// The mean rise of the floor from block to block in units of its standard error. A walk at random has a rise as well, but
/// not the same one in each block.
fn significance(seconds: &[f64], values: &[f64], count: usize) -> Option<f64> {
    if values.len() < count * BLOCK_MOMENTS_MIN {
        return None;
    }
    let floors: Vec<f64> = blocks(seconds, values, count).into_iter().map(least).collect();
    if floors.iter().any(|floor| !floor.is_finite()) {
        return None;
    }
    let rises: Vec<f64> = floors.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let n = rises.len() as f64;
    let mean = rises.iter().sum::<f64>() / n;
    let variance = rises.iter().map(|rise| (rise - mean).powi(2)).sum::<f64>() / (n - 1.0);
    // A growth that is exact to the byte is no more certain than one that is so to a twentieth.
    Some(mean / (variance / n).sqrt().max(0.05 * mean.abs()).max(1e-12))
}

/// How often the floor, the least of all later values, rose.
fn rises_of_floor(values: &[f64]) -> usize {
    let mut floor: Vec<f64> = values.to_vec();
    for place in (1..floor.len()).rev() {
        floor[place - 1] = floor[place - 1].min(floor[place]);
    }
    floor.windows(2).filter(|pair| pair[1] > pair[0]).count()
}

/// Whether no part of the time grew much slower than the whole, and the end no slower than the beginning.
fn is_even(seconds: &[f64], values: &[f64]) -> bool {
    let Some(mean) = theil_sen(seconds, values).map(|slope| slope.estimate) else { return false };
    let (step, chance) = (step(values), chance_of_increments(seconds, values));
    let rate = |from, to| {
        let (seconds, values) = part(seconds, values, from, to);
        pace(seconds, values, step, chance)
    };
    let keeps_up = PARTS
        .iter()
        .all(|(from, to, share)| rate(*from, *to).is_none_or(|(slope, error)| slope + error >= share * mean));
    let goes_on = [1.0 / 3.0, 0.5].iter().all(|length| {
        rate(0.0, *length)
            .zip(rate(1.0 - length, 1.0))
            .is_none_or(|((first, a), (last, b))| last + (a * a + b * b).sqrt() >= SLOWED * first)
    });
    mean > 0.0 && keeps_up && goes_on
}

/// The variance of the increment from one moment to the next, as far as it adds up. Where growth comes by chance its
/// increments differ for good; where it is the noise of each moment, the next increment takes it back, and nothing adds up.
fn chance_of_increments(seconds: &[f64], values: &[f64]) -> f64 {
    /// Noise of single moments alone makes -0.5 of neighbours, growth by chance alone 0.
    const TAKEN_BACK: f64 = -0.25;
    let (mut variance, mut neighbours, mut count) = (0.0, 0.0, 0.0);
    for third in blocks(seconds, values, 3) {
        let increments: Vec<f64> = third.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = increments.iter().sum::<f64>() / (increments.len() as f64).max(1.0);
        variance += increments.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
        neighbours += increments.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
        count += increments.len() as f64;
    }
    if neighbours < TAKEN_BACK * variance { 0.0 } else { (variance + 2.0 * neighbours).max(0.0) / f64::max(count, 1.0) }
}

/// The usual step of a figure that mostly stands still; 0 for one that does not.
fn step(values: &[f64]) -> f64 {
    let mut steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).filter(|one| *one > 0.0).collect();
    if steps.len() * 2 < values.len() { median(&mut steps) } else { 0.0 }
}

/// The middle slope of a part of the time and its standard error, to which half a step adds, and what is chance in each
/// increment.
fn pace(seconds: &[f64], values: &[f64], step: f64, chance: f64) -> Option<(f64, f64)> {
    let slope = theil_sen(seconds, values)?;
    let span = seconds.last()? - seconds.first()?;
    let of_chance = chance * seconds.len() as f64 + (0.5 * step).powi(2);
    let error = ((slope.high - slope.low) / 3.92).powi(2) + of_chance / span.powi(2);
    Some((slope.estimate, error.sqrt()))
}

/// Slope of the best straight line and its standard error.
fn line(seconds: &[f64], values: &[f64]) -> Option<(f64, f64)> {
    let n = seconds.len() as f64;
    let span = seconds.last()? - seconds.first()?;
    if seconds.len() < 4 || span <= 0.0 {
        return None;
    }
    let (mean_x, mean_y) = (seconds.iter().sum::<f64>() / n, values.iter().sum::<f64>() / n);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in seconds.iter().zip(values) {
        xx += (x - mean_x).powi(2);
        xy += (x - mean_x) * (y - mean_y);
        yy += (y - mean_y).powi(2);
    }
    let left = (yy - xy * xy / xx).max(0.0) / (n - 2.0);
    Some((xy / xx, (left / xx).sqrt()))
}

/// Whether it has come to rest, or comes and goes within a band that was seen before.
fn is_at_rest(seconds: &[f64], values: &[f64], scale: Scale, noise: f64) -> bool {
    if only_rises(values) {
        return false;
    }
    let mut changes: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    // Teeth are not always sampled at their tips.
    let tolerance = (3.0 * noise).max(scale.rest).max(2.0 * median(&mut changes));
    let quarter = |number: usize| part(seconds, values, number as f64 / 4.0, (number + 1) as f64 / 4.0).1;
    let (third, last) = (quarter(2), quarter(3));
    if third.is_empty() || last.is_empty() {
        return false;
    }
    let middle = |values: &[f64]| median(&mut values.to_vec());
    let is_still = least(last) - least(third) <= tolerance
        && most(last) - most(third) <= tolerance
        && middle(last) - middle(third) <= tolerance;
    let (before, late) = (part(seconds, values, 0.0, 2.0 / 3.0).1, part(seconds, values, 2.0 / 3.0, 1.0).1);
    let within =
        most(late) <= most(before) + scale.rest.max(noise) && least(late) <= quantile(&mut before.to_vec(), 0.4);
    is_still || within && !floor_rises(seconds, values)
}

/// Whether it rose more than once, never fell, and rose in the later half: however little it is, it adds up.
fn only_rises(values: &[f64]) -> bool {
    let rises = |values: &[f64]| values.windows(2).filter(|pair| pair[1] > pair[0]).count();
    let falls = values.windows(2).any(|pair| pair[1] < pair[0]);
    !falls && rises(values) > 1 && rises(&values[values.len() / 2..]) > 0
}

/// Whether the floor of six blocks rises beyond chance.
fn floor_rises(seconds: &[f64], values: &[f64]) -> bool {
    const CHANCE: f64 = 2.5;
    let floors: Vec<f64> = blocks(seconds, values, 6).into_iter().map(least).filter(|one| one.is_finite()).collect();
    let places: Vec<f64> = (0..floors.len()).map(|place| place as f64).collect();
    line(&places, &floors).is_some_and(|(slope, error)| slope > CHANCE * error && slope > 0.0)
}
