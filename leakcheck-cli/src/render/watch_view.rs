//! What a watcher knows at one moment, as its outputs need it: plain lines, JSON lines, the live view, metrics.

use leakcheck::analysis::Verdict;
use leakcheck::model::{Resident, Usage};

/// Everything that is watched, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WatchView {
    /// Milliseconds since the watch began.
    pub(crate) elapsed_ms: u64,
    /// Wall clock, milliseconds since the Unix epoch.
    pub(crate) taken_unix_ms: u64,
    /// When it will end by itself (`--for`), in milliseconds since it began.
    pub(crate) ends_ms: Option<u64>,
    /// The worst verdict so far of all processes, those that ended too.
    pub(crate) verdict: Verdict,
    /// The first line of the report as it would be now.
    pub(crate) headline: String,
    /// In the order they were met; ended ones stay while they are among the last few.
    pub(crate) processes: Vec<ProcessView>,
    /// How many ended ones are not in `processes` any more.
    pub(crate) ended_before: u64,
    /// What happened, newest last: `worker 4711 ended`. A few lines.
    pub(crate) events: Vec<String>,
    /// What watching itself costs.
    pub(crate) own: OwnCost,
}

/// What the watcher uses itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OwnCost {
    /// CPU time so far, in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Resident bytes.
    pub(crate) rss_bytes: u64,
}

/// One watched process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProcessView {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) state: ProcessState,
    pub(crate) evidence: EvidenceKind,
    pub(crate) verdict: Verdict,
    /// For *inconclusive*: how much longer, in milliseconds.
    pub(crate) more_ms: Option<u64>,
    /// Growth in bytes per second of what leaks or may leak, where that is known.
    pub(crate) rate_bytes_per_second: Option<f64>,
    /// The last sample.
    pub(crate) resident: Resident,
    pub(crate) usage: Usage,
    /// Live bytes of recorded sites, with the recorder.
    pub(crate) live_bytes: Option<u64>,
    /// Oldest first, a few hundred points at most.
    pub(crate) history: Vec<HistoryPoint>,
    /// Sites that grow most, first the worst; with the recorder. A few dozen at most.
    pub(crate) sites: Vec<SiteView>,
    /// Of all sites: leaking, inconclusive, bounded.
    pub(crate) site_counts: [u64; 3],
    /// Findings on other things than sites (`threads grow by 2 an hour`), one sentence each.
    pub(crate) remarks: Vec<String>,
}

/// Whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Running,
    Ended,
}

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvidenceKind {
    /// The recorder counts every block.
    Exact,
    /// The recorder samples.
    Sampled,
    /// The kernel's figures alone.
    Kernel,
}

/// Memory of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryPoint {
    /// Milliseconds since the watch began.
    pub(crate) elapsed_ms: u64,
    pub(crate) rss_bytes: u64,
    /// With the recorder.
    pub(crate) live_bytes: Option<u64>,
}

/// One site of a process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SiteView {
    /// `shop::cache::remember  src/cache.rs:31`
    pub(crate) label: String,
    pub(crate) verdict: Verdict,
    pub(crate) live_bytes: u64,
    pub(crate) live_blocks: u64,
    pub(crate) rate_bytes_per_second: Option<f64>,
    /// Live bytes at evenly spread moments, oldest first; up to 64.
    pub(crate) live_over_time: Vec<u64>,
}
