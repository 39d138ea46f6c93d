//! Cause (being written).

use super::judgement::Cause;
use crate::model::{FoldedStack, SizeSummary};

/// How the live memory of the site grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// More blocks.
    MoreBlocks,
    /// A few blocks that get larger.
    OneBlockGrows,
}

/// A cause with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The cause.
    pub cause: Cause,
    /// Why.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

/// Explains.
#[must_use]
pub fn explain(_: &FoldedStack, _: Shape, _: bool, _: f64, _: Option<SizeSummary>) -> Explained {
    Explained { cause: Cause::Unknown, evidence: String::new(), advice: String::new() }
}
