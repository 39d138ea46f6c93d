//! Inputs, one file per source. Each gives snapshots or series of them; nothing here judges or prints.

mod accepted_leaks;
mod process_sample;
mod program;
mod snapshot_files;

pub(crate) use accepted_leaks::{AcceptedLeak, load_accepted_leaks};
pub(crate) use process_sample::ProcessSampler;
pub(crate) use program::{Program, Recipe};
pub(crate) use snapshot_files::{latest_header, load_series, load_snapshot, snapshot_files_in};
