//! How many calls a round has, and how many rounds there are. Pure: times come from outside.

use std::time::Duration;

/// Rounds of a phase: enough for every rule of the analysis.
pub(super) const ROUNDS: u32 = 32;
/// The same where calls are slow.
const ROUNDS_SLOW: u32 = 24;
/// Calls of a round at first, where they are fast.
const CALLS_FIRST: u32 = 31;
/// Calls of a round at most.
const CALLS_MAX: u32 = 100_000_000;
/// Each phase makes so many times the calls of the one before: what came before is then within the warm-up of all.
const FACTOR: u32 = 8;
/// A phase that makes fewer times the calls tells nothing new.
const FACTOR_LEAST: u32 = 2;
/// Bytes by which the heap may grow in a phase.
const GROWTH_MAX: u64 = 256 << 20;

/// Rounds of equally many calls, with a look after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) rounds: u32,
    /// Calls of a round: a prime number, so that what happens at every k-th call does not fall on the rounds' ends.
    pub(super) calls: u32,
}

/// What the caller wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    pub(super) rounds: Option<u32>,
    pub(super) calls: Option<u32>,
    pub(super) budget: Duration,
}

impl Wishes {
    /// The first phase, with calls that take so long.
    pub(super) fn first(&self, per_call: Duration) -> Phase {
        let fits = |rounds: u32| self.budget.as_nanos() / (u128::from(rounds) * per_call.as_nanos().max(1));
        let rounds = self.rounds.unwrap_or(if fits(ROUNDS) < 3 { ROUNDS_SLOW } else { ROUNDS });
        let calls = u32::try_from(fits(rounds)).unwrap_or(u32::MAX).min(CALLS_FIRST);
        Phase { rounds, calls: self.calls.unwrap_or_else(|| prime_up_to(calls)) }
    }

    /// The phase after `last`, which took `took` and left `grown` more bytes; `None` when no time is `left` for one, or it
    /// would take too much memory.
    pub(super) fn next(&self, last: Phase, took: Duration, left: Duration, grown: u64) -> Option<Phase> {
        let by_time = left.as_nanos() / took.as_nanos().max(1);
        let by_memory = GROWTH_MAX / grown.max(1);
        let factor = u64::from(FACTOR).min(by_memory).min(u64::try_from(by_time).unwrap_or(u64::MAX)) as u32;
        if factor < FACTOR_LEAST || last.calls > CALLS_MAX / FACTOR {
            return None;
        }
        Some(match self.calls {
            Some(calls) => Phase { rounds: last.rounds * 2, calls },
            None => Phase { rounds: last.rounds, calls: prime_up_to(last.calls.saturating_mul(factor)) },
        })
    }
}

/// The largest prime number that is not above `limit`; 1 below 2.
fn prime_up_to(limit: u32) -> u32 {
    let is_prime = |number: &u32| {
        (2..).take_while(|of| u64::from(of * of) <= u64::from(*number)).all(|of| !number.is_multiple_of(of))
    };
    (2..=limit.min(CALLS_MAX)).rev().find(is_prime).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: fn(f64) -> Duration = Duration::from_secs_f64;

    fn wishes() -> Wishes {
        Wishes { rounds: None, calls: None, budget: SECONDS(2.0) }
    }

    #[test]
    fn calls_of_a_round_follow_their_time() {
        let check = |per_call: f64, rounds, calls| {
            assert_eq!(wishes().first(SECONDS(per_call)), Phase { rounds, calls }, "{per_call} s a call");
        };
        check(1e-6, 32, 31);
        check(0.001, 32, 31);
        check(0.005, 32, 11);
        check(0.02, 32, 3);
        check(0.03, 24, 2);
        check(1.0, 24, 1);
        let fixed = Wishes { rounds: Some(60), calls: Some(4), ..wishes() };
        assert_eq!(fixed.first(SECONDS(1.0)), Phase { rounds: 60, calls: 4 });
    }

    #[test]
    fn a_phase_is_longer_than_the_one_before_or_there_is_none() {
        let last = Phase { rounds: 32, calls: 31 };
        let next = |took, left, grown| wishes().next(last, SECONDS(took), SECONDS(left), grown).map(|next| next.calls);
        assert_eq!(next(0.01, 1.9, 1000), Some(241));
        assert_eq!(next(0.5, 1.4, 1000), Some(61));
        assert_eq!(next(1.5, 0.5, 1000), None);
        assert_eq!(next(0.01, 1.9, 200 << 20), None);
        let huge = Phase { rounds: 32, calls: CALLS_MAX };
        assert_eq!(wishes().next(huge, SECONDS(0.01), SECONDS(1.9), 0), None);
    }
}
