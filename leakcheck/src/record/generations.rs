//! When a new birth generation begins.
//!
//! The first 32 generations last one snapshot interval each, the next 32 two, the next 32 four, and so on: their number
//! grows with the logarithm of the run, and a generation never lasts longer than about a thirtieth of it.

use super::hook;
use super::weight::Interval;
use crate::model::Generation;

const PER_OCTAVE: u64 = 32;

/// The generations of one recording.
#[derive(Debug)]
pub(super) struct Generations {
    interval: Interval,
    begun: Vec<Generation>,
    snapshots_in_current: u64,
}

impl Generations {
    /// The first generation, which `number` was given to by the hook.
    pub(super) fn new(interval: Interval, number: u32) -> Self {
        Self { interval, begun: vec![Generation { number, started_elapsed_ms: 0 }], snapshots_in_current: 0 }
    }

    pub(super) fn current(&self) -> u32 {
        self.begun.last().map_or(0, |generation| generation.number)
    }

    pub(super) fn all(&self) -> &[Generation] {
        &self.begun
    }

    /// Called when a snapshot has been collected.
    pub(super) fn snapshot_taken(&mut self, elapsed_ms: u64) {
        self.snapshots_in_current += 1;
        if self.snapshots_in_current >= span(self.begun.len() as u64 - 1) {
            self.snapshots_in_current = 0;
            let number = hook::next_generation(self.interval);
            // At the very end of the numbers the last generation goes on.
            if number != self.current() {
                self.begun.push(Generation { number, started_elapsed_ms: elapsed_ms });
            }
        }
    }
}

/// Snapshots that the generation at this place lasts.
const fn span(place: u64) -> u64 {
    let octave = place / PER_OCTAVE;
    1 << if octave < 40 { octave } else { 40 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_seconds_needs_a_few_hundred_generations() {
        let (mut snapshots, mut generations) = (0, 0);
        while snapshots < 365 * 24 * 3600 {
            assert!(span(generations) <= 1 + snapshots / 16, "{generations}");
            snapshots += span(generations);
            generations += 1;
        }
        assert!(generations < 800, "{generations}");
    }
}
