//! Numbers of snapshot files: unlike any other of the same pid in the folder, whatever became of the process.

use crate::error::Error;
use crate::input::snapshot_files_in;
use std::collections::HashMap;
use std::path::Path;

/// The next number of each pid.
#[derive(Debug, Default)]
pub(super) struct Sequences(HashMap<u32, u64>);

impl Sequences {
    /// After those of the files that are in the folder already, whose number is returned as well.
    pub(super) fn after(folder: &Path) -> Result<(Self, usize), Error> {
        let files = snapshot_files_in(folder)?;
        let mut next = HashMap::new();
        for name in files.iter().filter_map(|file| file.file_stem()?.to_str()) {
            let parts = name.strip_prefix("leakcheck-").and_then(|rest| rest.split_once('-'));
            if let Some((pid, sequence)) = parts.and_then(|(pid, n)| Some((pid.parse().ok()?, n.parse::<u64>().ok()?)))
            {
                let known = next.entry(pid).or_insert(0);
                *known = sequence.saturating_add(1).max(*known);
            }
        }
        Ok((Self(next), files.len()))
    }

    pub(super) fn next(&mut self, pid: u32) -> u64 {
        let next = self.0.entry(pid).or_insert(0);
        *next += 1;
        *next - 1
    }
}
