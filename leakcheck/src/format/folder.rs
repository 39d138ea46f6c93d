//! The folder of snapshot files: names, and thinning out on long runs.

use super::Error;
use super::write::{write, write_unsynced};
use crate::model::{Reason, Snapshot};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Files that one recording wrote into a folder, oldest first.
#[derive(Debug)]
pub struct SnapshotFolder {
    folder: PathBuf,
    keep: usize,
    synced: bool,
    written: Vec<Written>,
}

#[derive(Debug, Clone)]
struct Written {
    path: PathBuf,
    sequence: u64,
    taken_unix_ms: u64,
    /// Named by the program, or the last of the recording: never thinned out.
    stays: bool,
}

impl SnapshotFolder {
    /// Makes the folder and shows that it can be written to. Beyond `keep` files older ones are thinned out.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or written to.
    pub fn open(folder: &Path, keep: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        // Kept absolute: the program may change its working directory.
        let folder = folder.canonicalize()?;
        let probe = folder.join(format!(".leakcheck-{}.partial", std::process::id()));
        File::create(&probe)?;
        fs::remove_file(&probe)?;
        Ok(Self { folder, keep, synced: true, written: Vec::new() })
    }

    /// Leaves it to the system when files reach the disk: a crash of the machine may cost the last ones, a kill costs none.
    #[must_use]
    pub fn not_synced(self) -> Self {
        Self { synced: false, ..self }
    }

    /// Writes a snapshot, then removes an older file when there are too many.
    ///
    /// # Errors
    ///
    /// When the file system refuses; no part of the snapshot is left.
    pub fn write(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let name = format!("leakcheck-{}-{:06}.json", snapshot.process.pid, snapshot.sequence);
        let path = self.folder.join(name);
        if self.synced {
            write(&path, snapshot)?
        } else {
            write_unsynced(&path, snapshot)?
        }
        let stays = snapshot.reason != Reason::Periodic;
        self.written.push(Written { path, sequence: snapshot.sequence, taken_unix_ms: snapshot.taken_unix_ms, stays });
        if self.written.len() > self.keep
            && let Some(place) = least_missed(&self.written)
        {
            let removed = self.written.remove(place);
            // Best effort: a file that somebody else removed already is gone as well.
            let _ = fs::remove_file(removed.path);
        }
        Ok(())
    }

    /// Whether the snapshot of this number was written here and has not been thinned out.
    #[must_use]
    pub fn keeps(&self, sequence: u64) -> bool {
        self.written.binary_search_by_key(&sequence, |written| written.sequence).is_ok()
    }
}

/// The file whose removal leaves the smallest gap for its age: what remains is dense in the recent past and ever
/// thinner before.
fn least_missed(written: &[Written]) -> Option<usize> {
    let at = |place: usize| written[place].taken_unix_ms;
    let now = written.last()?.taken_unix_ms;
    // The wall clock may jump.
    let cost = |place: usize| {
        let gap = at(place + 1).saturating_sub(at(place - 1));
        let age = now.saturating_sub(at(place)).saturating_add(1);
        gap as f64 / age as f64
    };
    (1..written.len().saturating_sub(1))
        .filter(|place| !written[*place].stays)
        .min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_back_is_no_matter() {
        let at = |taken_unix_ms| Written { path: PathBuf::new(), sequence: 0, taken_unix_ms, stays: false };
        let written: Vec<Written> = [5000, 6000, 7000, 100, 200, 300].map(at).into();
        assert!(least_missed(&written).is_some());
    }

    #[test]
    fn thinning_keeps_first_named_and_an_even_spread() {
        let mut written: Vec<Written> = Vec::new();
        for n in 0..10_000_u64 {
            written.push(Written { path: PathBuf::new(), sequence: n, taken_unix_ms: n * 1000, stays: n == 1234 });
            if written.len() > 50 {
                let place = least_missed(&written).unwrap();
                written.remove(place);
            }
        }
        let kept: Vec<u64> = written.iter().map(|w| w.taken_unix_ms / 1000).collect();
        assert_eq!((kept[0], kept.len()), (0, 50));
        assert!(kept.contains(&1234) && kept.contains(&9_999));
        let old = kept.iter().filter(|n| **n < 5_000).count();
        assert!((4..45).contains(&old), "{kept:?}");
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] < 4_000), "{kept:?}");
    }
}
