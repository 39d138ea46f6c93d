//! From a series of snapshots to findings and a verdict. Pure: no input or output, no clock, no globals, no failure.
//!
//! `window` chooses the moments that are judged, `view` lays one site out over them, each file of `rules` says how far
//! one look moves the odds, `judge` combines the rules into a probability per site and a verdict, `cause` says what makes
//! it grow, `self_test` plants a leak into a series and looks whether it is seen, `resident` splits memory that grows though no site does. `diff` compares two snapshots without judging.

pub mod cause;
mod diff;
mod judge;
mod judgement;
mod notes;
mod resident;
mod restarts;
mod rules;
mod self_test;
mod siblings;
mod statistics;
mod view;
mod window;

pub use diff::{Diff, SiteChange, diff};
pub use judge::judge;
pub use judgement::{Cause, Evidence, Finding, JudgeOptions, Judgement, PerIteration, Rate, TimeToLimit, Verdict};
pub use resident::{PartGrowth, ResidentGrowth, ResidentPart};
pub use restarts::{Restarts, restarts};
pub use self_test::{SelfTest, self_test};
