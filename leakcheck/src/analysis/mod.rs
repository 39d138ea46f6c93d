//! From a series of snapshots to findings and a verdict. Pure: no input or output, no clock, no globals, no failure.
//!
//! `window` chooses the moments that are judged, `view` lays one site out over them, each file of `rules` says how far
//! one look moves the odds, `judge` combines the rules into a probability per site and a verdict, `cause` says what makes
//! it grow. `baseline` and `suppressions` take out what is known or accepted before the verdict is drawn. `restarts` and
//! `peers` look at several processes together, `resources` judges what the kernel says of the whole process (by its shape:
//! `steadiness`), `resident` splits memory that grows though no site does, `self_test` plants a leak into a
//! series and looks whether it is seen. `diff` compares two snapshots without judging.

mod baseline;
pub mod cause;
mod diff;
mod entries;
mod judge;
mod judgement;
mod notes;
mod peers;
mod resident;
mod resources;
mod restarts;
mod rules;
mod self_test;
mod siblings;
mod statistics;
mod steadiness;
mod suppressions;
mod view;
mod window;

pub use baseline::Baseline;
pub use diff::{Diff, SiteChange, diff};
pub use judge::judge;
pub use judgement::{
    Cause, Evidence, Finding, JudgeOptions, Judgement, PerIteration, Rate, Standing, TimeToLimit, Verdict,
};
pub use peers::{Peers, peers};
pub use resident::{PartGrowth, ResidentGrowth, ResidentPart};
pub use resources::{Resource, ResourceFinding};
pub use restarts::{Restarts, restarts};
pub use self_test::{SelfTest, self_test};
pub use suppressions::Suppression;
