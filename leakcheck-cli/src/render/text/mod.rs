//! Reports as text for a terminal: the answer first, then the evidence, then what to do next.

mod check;
mod diff;
mod page;

pub(crate) use check::check;
pub(super) use check::{ADD_THE_RECORDER, finding_in_full, live_in_words};
pub(crate) use diff::diff;
pub(super) use diff::{DIFFERENT_MODES, DIFFERENT_RECORDINGS, change_counts, change_in_words, evidence_in_words};
pub(crate) use page::Look;
