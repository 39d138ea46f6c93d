//! The rounds of a bounded assertion: what to call next, looks in between, and when it is known.
//!
//! Calls nothing itself, so that blocking and async closures go the same way.

use super::message;
use super::pace::{Phase, Wishes};
use super::verdict::{self, Judged, Seen};
use crate::analysis::Verdict;
use crate::record::{Outside, Trial, aside};
use std::panic::Location;
use std::time::{Duration, Instant};

/// Calls before the first round, unless they are slow or the caller says how many.
const WARM_UP_CALLS: u32 = 16;
/// What remains open is looked at for so many times the budget.
const PATIENCE: u32 = 3;

/// A running assertion.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) trial: Trial,
    wishes: Wishes,
    warm_up: Option<u32>,
    location: &'static Location<'static>,
    began: Instant,
    round_began: Instant,
    /// What all phases took, looks included and verdicts not.
    spent: Duration,
    fastest: Duration,
    phase: Option<Started>,
    calls: u64,
    /// Calls of the round that runs.
    running: u32,
    seen: Vec<Seen>,
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Started {
    phase: Phase,
    rounds_left: u32,
    began: Instant,
    /// The look it began with.
    look: usize,
}

/// What a phase came to.
enum Decision {
    Pass,
    Fail(String),
    Go(Phase),
}

impl Run {
    pub(super) fn begin(
        wishes: Wishes,
        warm_up: Option<u32>,
        all_threads: bool,
        location: &'static Location<'static>,
    ) -> Result<Self, String> {
        let now = Instant::now();
        let begun = aside(|| {
            let mut trial = Trial::begin(location, all_threads)?;
            trial.watch_outside();
            Ok(trial)
        });
        let trial = begun.map_err(|error| message::nothing_asserted(&error))?;
        Ok(Self {
            trial,
            wishes,
            warm_up,
            location,
            began: now,
            round_began: now,
            spent: Duration::ZERO,
            fastest: Duration::MAX,
            phase: None,
            calls: 0,
            running: 0,
            seen: Vec::new(),
            failure: None,
        })
    }

    /// How many calls to make now; `None` when it is known.
    pub(super) fn next_round(&mut self) -> Option<u32> {
        aside(|| {
            self.end_round();
            self.running = match self.phase {
                None => self.warm_up_calls(),
                Some(started) if started.rounds_left > 0 => started.phase.calls,
                Some(started) => match self.decide(started) {
                    Decision::Pass => return None,
                    Decision::Fail(message) => {
                        self.failure = Some(message);
                        return None;
                    }
                    Decision::Go(phase) => {
                        self.start(phase);
                        phase.calls
                    }
                },
            };
            if let Some(started) = &mut self.phase {
                started.rounds_left -= 1;
                self.trial.next_round();
            }
            self.round_began = Instant::now();
            Some(self.running)
        })
    }

    /// Counts the calls of the round that ended, and takes a look unless it was the warm-up's.
    fn end_round(&mut self) {
        if self.running == 0 {
            return;
        }
        self.fastest = self.fastest.min(self.round_began.elapsed() / self.running);
        self.calls += u64::from(self.running);
        match self.phase {
            None => {}
            Some(started) => {
                if started.rounds_left == 0 {
                    self.trial.settle();
                }
                self.take_look();
            }
        }
    }

    fn take_look(&mut self) {
        let totals = self.trial.look();
        self.seen.push(Seen { calls: self.calls, totals });
    }

    /// Calls of the warm-up one by one, and then those of the first round.
    fn warm_up_calls(&mut self) -> u32 {
        let slow = self.began.elapsed() > self.wishes.budget / 20;
        let enough = match self.warm_up {
            Some(wanted) => self.calls >= u64::from(wanted),
            None => self.calls >= u64::from(WARM_UP_CALLS) || (slow && self.calls >= 2),
        };
        if !enough {
            return 1;
        }
        let phase = self.wishes.first(if self.calls == 0 { Duration::ZERO } else { self.fastest });
        self.trial.settle();
        self.take_look();
        self.start(phase);
        phase.calls
    }

    fn start(&mut self, phase: Phase) {
        let look = self.seen.len() - 1;
        self.phase = Some(Started { phase, rounds_left: phase.rounds, began: Instant::now(), look });
    }

    fn decide(&mut self, started: Started) -> Decision {
        let took = started.began.elapsed();
        self.spent += took;
        if let Err(error) = self.trial.is_complete() {
            return Decision::Fail(message::nothing_asserted(&error));
        }
        let grown = self.trial.grown_since(started.look);
        if grown.is_zero() {
            return Decision::Pass;
        }
        let judged = verdict::judge(&self.trial, &self.seen, started.phase.calls);
        let growing = match judged.judgement.verdict {
            // A few blocks more may be the first ones of a seldom leak.
            Verdict::Bounded if !judged.holds_more() => return Decision::Pass,
            Verdict::Bounded => false,
            Verdict::Leaking => true,
            Verdict::Inconclusive => judged.open_holds_more(),
        };
        let budget = self.wishes.budget;
        let open = judged.judgement.verdict == Verdict::Inconclusive;
        let limit = if open { budget.saturating_mul(PATIENCE) } else { budget };
        let left = limit.saturating_sub(self.spent);
        match self.wishes.next(started.phase, took, left, grown.bytes) {
            Some(phase) => Decision::Go(phase),
            None if growing => Decision::Fail(self.tell(&judged)),
            None => Decision::Pass,
        }
    }

    fn tell(&self, judged: &Judged) -> String {
        let ran = message::Ran { calls: self.calls, looks: self.seen.len(), location: self.location };
        message::grows(judged, ran, self.outside().as_ref())
    }

    /// Growth outside that is worth a word: about a block in ten calls.
    fn outside(&self) -> Option<Outside> {
        self.trial.outside().filter(|outside| outside.blocks >= (self.calls / 10).max(8))
    }

    /// Ends it; an error is what to panic with.
    pub(super) fn finish(self) -> Result<(), String> {
        let failure = aside(|| {
            if self.failure.is_none()
                && let Some(outside) = self.outside()
            {
                eprintln!("leakcheck: {}", message::outside(&outside));
            }
            self.failure.clone()
        });
        failure.map_or(Ok(()), Err)
    }
}
