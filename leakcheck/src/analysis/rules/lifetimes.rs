//! What a site can be, as shapes of its survivors over their time of birth: a leak, or bounded in one way or another.
//!
//! Everything is measured in the span of the run. A block born at `t` has the age `1 - t` at the end. Each shape gives
//! the share of the survivors that should have been born in each stretch of time; `survivors` weighs them against what is
//! there. The lists below are the prior: what programs do, and how often. They were written down, not fitted.

/// A stretch of birth times, as fractions of the span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stretch {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// How many of the blocks born at one time are left at the end.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// All stay, born at a rate that changes from the first to the second, in a straight line.
    Stay(f64, f64),
    /// All stay, born at a rate that falls as a power of time.
    StayPower(f64),
    /// All stay, but none was born after this moment.
    StopsAt(f64),
    /// All stay, but ever fewer are born, with this time constant.
    Fades(f64),
    /// Lifetimes are exponential with this mean.
    Mean(f64),
    /// All live as long as this: first in, first out; or a reset that long ago.
    Fixed(f64),
}

impl Shape {
    /// The integral over a stretch.
    fn over(self, Stretch { from, to }: Stretch) -> f64 {
        let length = (to - from).max(0.0);
        match self {
            Self::Stay(first, last) => length * (first + (last - first) * (from + to) / 2.0),
            Self::StayPower(power) => to.max(0.0).powf(1.0 - power) - from.max(0.0).powf(1.0 - power),
            Self::StopsAt(end) => (to.min(end) - from).max(0.0),
            Self::Fades(tau) => tau * ((-from / tau).exp() - (-to / tau).exp()),
            Self::Mean(tau) => tau * (((to - 1.0) / tau).exp() - ((from - 1.0) / tau).exp()),
            Self::Fixed(tau) => (to - from.max(1.0 - tau)).max(0.0),
        }
    }
}

use Shape::{Fades, Fixed, Mean, Stay, StayPower, StopsAt};

/// Growth that does not end, with how usual it is.
const LEAKS: &[(Shape, f64)] = &[
    (Stay(1.0, 1.0), 0.7),
    (Stay(0.2, 1.8), 0.1),
    (Stay(1.3, 0.7), 0.08),
    (Stay(1.6, 0.4), 0.02),
    (StayPower(0.25), 0.05),
    (Stay(0.0, 2.0), 0.05),
];

/// Growth that ends. That it ends late is possible, and seldom.
const STOPS: &[(Shape, f64)] = &[
    (StopsAt(0.2), 1.0),
    (StopsAt(0.25), 1.0),
    (StopsAt(0.3), 1.0),
    (StopsAt(0.35), 1.0),
    (StopsAt(0.4), 1.0),
    (StopsAt(0.45), 1.0),
    (StopsAt(0.5), 1.0),
    (StopsAt(0.55), 1.0),
    (StopsAt(0.6), 0.9),
    (StopsAt(0.65), 0.8),
    (StopsAt(0.7), 0.6),
    (StopsAt(0.75), 0.4),
    (StopsAt(0.8), 0.2),
    (StopsAt(0.85), 0.1),
    (StopsAt(0.9), 0.05),
    (Fades(0.05), 1.0),
    (Fades(0.08), 1.0),
    (Fades(0.12), 1.0),
    (Fades(0.17), 1.0),
    (Fades(0.24), 1.0),
    (Fades(0.34), 0.8),
    (Fades(0.48), 0.4),
];

/// Lifetimes that end. That they are as long as half the run is possible, and seldom.
const LIVES: &[(Shape, f64)] = &[
    (Mean(0.01), 1.0),
    (Mean(0.02), 1.0),
    (Mean(0.04), 1.0),
    (Mean(0.08), 1.0),
    (Mean(0.14), 0.7),
    (Mean(0.22), 0.4),
    (Mean(0.35), 0.08),
    (Fixed(0.03), 1.0),
    (Fixed(0.06), 1.0),
    (Fixed(0.1), 1.0),
    (Fixed(0.15), 1.0),
    (Fixed(0.2), 0.8),
    (Fixed(0.3), 0.6),
    (Fixed(0.4), 0.3),
    (Fixed(0.5), 0.1),
    (Fixed(0.6), 0.04),
];

/// What may be in use beside, whatever else the site is.
const IN_USE: &[(Shape, f64)] = &[
    (Mean(0.02), 1.0),
    (Mean(0.06), 1.0),
    (Mean(0.14), 0.6),
    (Fixed(0.04), 1.0),
    (Fixed(0.1), 1.0),
    (Fixed(0.2), 0.6),
    (Fixed(0.3), 0.3),
];

/// The share of survivors that is in use.
const SHARES: &[f64] = &[0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.88, 0.95];

/// One thing that a site can be: the expected share of the survivors in each stretch, with its prior weight.
#[derive(Debug, Clone)]
struct Hypothesis {
    /// Logarithms of the shares.
    log_shares: Vec<f64>,
    log_weight: f64,
}

/// All hypotheses over some stretches, each side's weights adding up to one.
#[derive(Debug, Clone)]
pub(super) struct Hypotheses {
    stretches: Vec<Stretch>,
    leaking: Side,
    bounded: Side,
}

/// Hypotheses in one piece, which is what makes them fast to weigh.
#[derive(Debug, Clone)]
struct Side {
    log_weights: Vec<f64>,
    /// Row by row.
    log_shares: Vec<f64>,
}

impl Side {
    fn of(list: &[Hypothesis]) -> Self {
        Self {
            log_weights: list.iter().map(|one| one.log_weight).collect(),
            log_shares: list.iter().flat_map(|one| one.log_shares.iter().copied()).collect(),
        }
    }

    /// The logarithm of the marginal likelihood of `counts`.
    fn marginal(&self, counts: &[f64], dispersion: f64) -> f64 {
        let rows = self.log_shares.chunks_exact(counts.len().max(1));
        let logs: Vec<f64> = self
            .log_weights
            .iter()
            .zip(rows)
            .map(|(weight, row)| {
                // PERF: a plain loop: without optimisation, as in most test runs, iterators take five times as long here.
                let mut fit = 0.0;
                let mut place = 0;
                while place < counts.len() {
                    fit += row[place] * counts[place];
                    place += 1;
                }
                weight + fit / dispersion
            })
            .collect();
        let most = logs.iter().copied().fold(f64::MIN, f64::max);
        // What is less likely by e^20 adds nothing.
        let near = logs.iter().filter(|log| **log > most - 20.0);
        most + near.map(|log| (log - most).exp()).sum::<f64>().ln()
    }
}

impl Hypotheses {
    /// Over stretches of the time since an onset.
    pub(super) fn over(stretches: &[Stretch]) -> Self {
        let shares = |shape: Shape| shares(shape, stretches);
        let in_use: Vec<(Vec<f64>, f64)> = IN_USE.iter().map(|(shape, weight)| (shares(*shape), *weight)).collect();
        let lives: Vec<(Vec<f64>, f64)> = LIVES.iter().map(|(shape, weight)| (shares(*shape), *weight)).collect();
        let mut leaking = Vec::new();
        for (shape, weight) in LEAKS {
            with_in_use(&mut leaking, &shares(*shape), *weight, &in_use);
        }
        let mut stops = Vec::new();
        for (shape, weight) in STOPS {
            with_in_use(&mut stops, &shares(*shape), *weight, &in_use);
        }
        let mut bounded = Vec::new();
        for (shares, weight) in &lives {
            with_in_use(&mut bounded, shares, *weight, &in_use);
        }
        normalize(&mut leaking, 1.0);
        normalize(&mut stops, 0.5);
        normalize(&mut bounded, 0.5);
        bounded.extend(stops);
        Self { stretches: stretches.to_vec(), leaking: Side::of(&leaking), bounded: Side::of(&bounded) }
    }
}

fn shares(shape: Shape, stretches: &[Stretch]) -> Vec<f64> {
    let mut shares: Vec<f64> = stretches.iter().map(|one| shape.over(*one)).collect();
    let sum: f64 = shares.iter().sum();
    if sum > 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    }
    shares
}

/// A shape alone (half of the weight), and mixed with what may be in use.
fn with_in_use(list: &mut Vec<Hypothesis>, shape: &[f64], weight: f64, in_use: &[(Vec<f64>, f64)]) {
    list.push(Hypothesis::of(shape.to_vec(), weight / 2.0));
    let all: f64 = in_use.iter().map(|(_, weight)| weight).sum::<f64>() * SHARES.len() as f64;
    for (young, young_weight) in in_use {
        for share in SHARES {
            let mixed = shape.iter().zip(young).map(|(a, b)| (1.0 - share) * a + share * b).collect();
            list.push(Hypothesis::of(mixed, weight / 2.0 * young_weight / all));
        }
    }
}

impl Hypothesis {
    /// No stretch is quite impossible: a block in a hundred is an exception to any rule.
    fn of(shares: Vec<f64>, weight: f64) -> Self {
        const EXCEPTIONS: f64 = 0.005;
        let even = EXCEPTIONS / shares.len().max(1) as f64;
        let log_shares = shares.into_iter().map(|share| ((1.0 - EXCEPTIONS) * share + even).ln()).collect();
        Self { log_shares, log_weight: weight.ln() }
    }
}

fn normalize(list: &mut [Hypothesis], total: f64) {
    let sum: f64 = list.iter().map(|one| one.log_weight.exp()).sum();
    for one in list {
        one.log_weight += (total / sum).ln();
    }
}

/// More independent counts than this add no certainty: then it is the shapes that are not quite true.
const COUNTS_MAX: f64 = 150.0;
/// What is younger may be in use.
const YOUNG: f64 = 0.8;

/// The logarithm of the marginal likelihood ratio, leaking over bounded, of `counts` survivors per stretch. Counts that
/// clump weigh less: all log likelihoods are divided by their dispersion. Of the young ones, not more than three times
/// the usual rate of the older ones are counted: how much is in use tells nothing, and how exactly still less.
pub(super) fn log_ratio(hypotheses: &Hypotheses, counts: &[f64], dispersion: f64) -> f64 {
    if counts.is_empty() {
        return 0.0;
    }
    let (mut length, mut older) = (0.0, 0.0);
    for (one, count) in hypotheses.stretches.iter().zip(counts).filter(|(one, _)| one.to <= YOUNG) {
        length += one.to - one.from;
        older += count;
    }
    let usual = older / f64::max(length, 1e-9);
    let clipped = hypotheses.stretches.iter().zip(counts).map(|(one, count)| match one.to <= YOUNG {
        true => *count,
        false => count.min((3.0 * usual * (one.to - one.from)).max(8.0 * dispersion)),
    });
    let counts: Vec<f64> = clipped.collect();
    let dispersion = dispersion.max(counts.iter().sum::<f64>() / COUNTS_MAX);
    hypotheses.leaking.marginal(&counts, dispersion) - hypotheses.bounded.marginal(&counts, dispersion)
}
