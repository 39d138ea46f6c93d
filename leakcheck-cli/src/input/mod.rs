//! Inputs, one file per source. Each gives snapshots or series of them; nothing here judges or prints.

mod accepted_leaks;
mod process_sample;
mod processes;
mod program;
mod snapshot_files;
mod symbols;

pub(crate) use accepted_leaks::{AcceptedLeak, load_accepted_leaks};
pub(crate) use process_sample::{ProcessSampler, unix_ms_now};
pub(crate) use processes::{
    Figures, NamePattern, ProcessFigures, RecorderError, RecorderSocket, Unwatchable, children_of, forks_workers,
    own_rss_bytes, processes_named, recording_from_outside, remove_stale_sockets, runs, successor_of, ticks_now,
};
pub(crate) use program::{Program, Recipe};
pub(crate) use snapshot_files::{latest_header, load_series, load_snapshot, snapshot_files_in};
pub(crate) use symbols::Symbols;
