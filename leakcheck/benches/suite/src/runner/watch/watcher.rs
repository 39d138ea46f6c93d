//! One watcher: started beside a child, its CPU time and memory looked at from outside, and ended with it.

use leakcheck_suite::{clock, resident};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// A running `leakcheck watch`; killed when dropped, with what it wrote.
pub(super) struct Watcher {
    child: Child,
    folder: PathBuf,
    /// Lines it printed: with `--format json` its samples.
    lines: Arc<AtomicU64>,
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
}

impl Watcher {
    /// Watches a process with more options.
    pub(super) fn start(command: &Path, pid: u32, options: &[&str]) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("leakcheck-suite-watch-{}-{pid}", std::process::id()));
        let mut child = Command::new(command)
            .args(["watch", "--quiet", "--for", "2h", "--pid", &pid.to_string(), "--out"])
            .arg(&folder)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| format!("failed to start {}: {why}", command.display()))?;
        let lines = Arc::new(AtomicU64::new(0));
        let stdout = child.stdout.take().ok_or("the watcher has no output")?;
        let counted = Arc::clone(&lines);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            // A broken pipe ends it as well. Relaxed: nothing else hangs on the number.
            while stdout.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                counted.fetch_add(1, Ordering::Relaxed);
                line.clear();
            }
        });
        Ok(Self { child, folder, lines, first: None, last: None })
    }

    /// Reads its clock: the first and the last of these are what its cost is between.
    pub(super) fn look(&mut self) -> Result<(), String> {
        if let Some(status) = self.child.try_wait().map_err(|why| format!("failed to wait: {why}"))? {
            return Err(format!("the watcher ended: {status}"));
        }
        self.last = clock::cpu_ns_of(self.child.id()).map(|used| (Instant::now(), used));
        self.first = self.first.or(self.last);
        Ok(())
    }

    /// CPU time as a part of the time between the looks.
    pub(super) fn part_of_core(&self) -> Option<f64> {
        let ((began, before), (ended, after)) = self.first.zip(self.last)?;
        Some((after - before) as f64 / (ended - began).as_nanos().max(1) as f64)
    }

    /// Begins to count anew.
    pub(super) fn forget_looks(&mut self) {
        (self.first, self.last) = (None, None);
    }

    pub(super) fn rss_bytes(&self) -> u64 {
        resident::bytes_of(self.child.id())
    }

    pub(super) fn lines(&self) -> u64 {
        // Relaxed: see where it is counted.
        self.lines.load(Ordering::Relaxed)
    }

    /// Snapshot files that are there now, and whether the newest names call sites.
    pub(super) fn files(&self) -> (usize, bool) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        let newest = files.iter().max().and_then(|path| fs::read(path).ok());
        let json: Option<serde_json::Value> = newest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let sites = json.as_ref().and_then(|json| json["sites"].as_array()).map_or(0, Vec::len);
        (files.len(), sites > 0)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended; what it wrote is in the folder for temporary files.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
