//! Running processes: which ones are meant, what the kernel says of each, and the recorder in it, if there is one.

mod figures;
mod recorder;
mod search;

pub(crate) use figures::{
    Figures, ProcessFigures, Unwatchable, own_rss_bytes, recording_from_outside, resident_of_status, ticks_now,
};
pub(crate) use recorder::{RecorderError, RecorderSocket, remove_stale_sockets};
pub(crate) use search::{NamePattern, children_of, forks_workers, processes_named, runs, successor_of};
