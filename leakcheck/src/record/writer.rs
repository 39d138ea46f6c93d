//! The writer thread: names, files, answers. All of it may take longer than an interval between snapshots.

use super::RecordError;
use super::assemble::Assembler;
use super::collect::CollectedSite;
use super::error::Kind;
use crate::cgroup::ControlGroups;
use crate::format::SnapshotFolder;
use crate::model::Snapshot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

// Relaxed wherever they are used: statistics.
static FAILED_SNAPSHOTS: AtomicU64 = AtomicU64::new(0);
static ASSEMBLER_BYTES: AtomicU64 = AtomicU64::new(0);

/// Who asked for a snapshot hears of it here.
pub(super) type Reply = Sender<Result<Snapshot, RecordError>>;

/// For whom a snapshot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// For the folder of the recording, when there is one.
    Recordings,
    /// The same, when memory is nearly used up: no names are looked up, which would take more of it.
    RecordingsInNeed,
    /// For a watcher alone.
    Watchers,
}

/// A snapshot whose counters are taken and whose names are not.
pub(super) struct Job {
    pub(super) snapshot: Snapshot,
    pub(super) collected: Vec<CollectedSite>,
    pub(super) whose: Whose,
    pub(super) reply: Option<Reply>,
}

/// Does the jobs until there are no more.
pub(super) fn write_jobs(jobs: &Receiver<Job>, mut files: Option<SnapshotFolder>, names: bool) {
    let mut assembler = Assembler::default();
    let mut reported = false;
    for Job { mut snapshot, collected, whose, reply } in jobs {
        // A watcher looks names up by itself. Here it takes memory, which may be all there is left.
        let names = || names && whose == Whose::Recordings && room_for_names();
        assembler.fill(&mut snapshot, collected, names);
        let files = files.as_mut().filter(|_| whose != Whose::Watchers);
        let written = files.map_or(Ok(()), |files| files.write(&snapshot));
        if let Err(error) = &written {
            FAILED_SNAPSHOTS.fetch_add(1, Ordering::Relaxed);
            if !reported {
                reported = true;
                eprintln!("leakcheck: failed to {error}; the program goes on, and later snapshots are tried again");
            }
        }
        match (reply, written) {
            (Some(reply), Ok(())) => {
                // Whoever asked may have given up waiting.
                let _ = reply.send(Ok(snapshot.clone()));
            }
            (Some(reply), Err(error)) => {
                let _ = reply.send(Err(Kind::NotWritten(error.to_string()).into()));
            }
            (None, _) => {}
        }
        assembler.take_back(snapshot);
        ASSEMBLER_BYTES.store(assembler.bytes() as u64, Ordering::Relaxed);
    }
}

/// Snapshots that could not be written.
pub(super) fn failed_snapshots() -> u64 {
    FAILED_SNAPSHOTS.load(Ordering::Relaxed)
}

/// Bytes that the tables of the thread hold.
pub(super) fn assembler_bytes() -> u64 {
    ASSEMBLER_BYTES.load(Ordering::Relaxed)
}

/// Whether the control groups leave room for looking names up: some hundred megabytes for a moment, and the files that
/// names are read from.
fn room_for_names() -> bool {
    const ROOM_BYTES: u64 = 160 << 20;
    let executable = std::fs::metadata("/proc/self/exe").map_or(0, |data| data.len());
    let fullest = ControlGroups::of_this_process().fullest();
    fullest.is_none_or(|group| group.limit_bytes.saturating_sub(group.used_bytes) >= ROOM_BYTES + executable)
}
