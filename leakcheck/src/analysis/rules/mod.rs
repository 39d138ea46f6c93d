//! The rules: each looks at one site in one way and says how far that moves the odds that it leaks.
//!
//! A rule returns the natural logarithm of a likelihood ratio, leaking against bounded, held within limits that its own
//! known failures justify (`docs/detection.md`). Rules look at different things, so their logarithms are added.

mod balance;
mod doubling;
mod floor;
mod generations;
mod iterations;
mod lifetimes;
mod survivors;
mod trend;

pub(super) use doubling::steps;
pub(super) use floor::{Profile, profile};
pub(super) use survivors::{Looks, Persistence, persistence};

use super::judgement::Evidence;
use super::view::View;

/// One rule.
pub(super) type Rule = fn(&View<'_>) -> Option<Evidence>;

/// All rules, in the order their evidence is computed.
pub(super) const RULES: &[Rule] =
    &[survivors::look, floor::look, balance::look, generations::look, trend::look, doubling::look, iterations::look];

/// What the birth generations of a site say: the one rule that two snapshots are enough for.
pub(super) fn by_generations(view: &View<'_>) -> Option<Evidence> {
    survivors::look(view)
}
