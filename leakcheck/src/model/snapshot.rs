//! A snapshot: the counters of all sites at one moment, and what is needed to read them.

use super::{Counters, Frame, Module, Site, StackNode};
use serde::{Deserialize, Serialize};

/// The counters of all sites of one process at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The process it was taken of.
    pub process: Process,
    /// How it was recorded.
    pub recording: Recording,
    /// Number of the snapshot in its recording, from 0, without gaps unless files were thinned out.
    pub sequence: u64,
    /// Why it was taken.
    pub reason: Reason,
    /// The checkpoint's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Milliseconds since the Unix epoch, by the wall clock (which may jump).
    pub taken_unix_ms: u64,
    /// Milliseconds since the recording began, by a clock that never jumps.
    pub elapsed_ms: u64,
    /// Loop turns marked by the program so far.
    #[serde(default)]
    pub iterations: u64,
    /// The birth generations that survivors refer to, oldest first; the last one is the one this snapshot closes.
    #[serde(default)]
    pub generations: Vec<Generation>,
    /// The sum of all sites.
    pub totals: Counters,
    /// What the kernel says of the process's memory at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident: Option<Resident>,
    /// What else the kernel says of the process, where a watcher looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the recorder could not see or keep.
    #[serde(default)]
    pub losses: Losses,
    /// Bytes the recorder itself holds (tables, counters, symbols).
    #[serde(default)]
    pub recorder_bytes: u64,
    /// Cheap totals since the previous snapshot, at a higher rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<TimelinePoint>,
    /// Files that code was loaded from.
    #[serde(default)]
    pub modules: Vec<Module>,
    /// Code addresses with their names.
    #[serde(default)]
    pub frames: Vec<Frame>,
    /// Stacks as a tree; parents before children.
    #[serde(default)]
    pub stacks: Vec<StackNode>,
    /// Scope names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Thread names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<String>,
    /// The sites.
    #[serde(default)]
    pub sites: Vec<Site>,
}

/// Which process a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process id, in its own namespace.
    pub pid: u32,
    /// Start of the process, milliseconds since the Unix epoch: tells a reused pid.
    pub started_unix_ms: u64,
    /// Path of the executable.
    pub executable: String,
    /// Build id of the executable as hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// Host name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The process that started it, when it was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_pid: Option<u32>,
}

/// How the snapshots of a process were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Version of leakcheck that wrote it.
    pub leakcheck_version: String,
    /// Every block, or a sample.
    pub mode: Mode,
    /// When the recording began, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// The interval asked for between snapshots, milliseconds; 0 when only on request.
    #[serde(default)]
    pub every_ms: u64,
    /// Who counted.
    #[serde(default, skip_serializing_if = "Source::is_recorder")]
    pub source: Source,
    /// Bytes that were in use when the recorder was woken, as far as the allocator tells: nothing else is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predating_bytes: Option<u64>,
}

/// Where snapshots come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The recorder in the process: sites with their counters.
    #[default]
    Recorder,
    /// The kernel alone, from outside (`/proc`): no sites, and nothing known of the heap.
    Kernel,
}

impl Source {
    /// Whether the process counted itself.
    #[must_use]
    pub const fn is_recorder(&self) -> bool {
        matches!(self, Self::Recorder)
    }
}

/// What part of the allocations is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Mode {
    /// Every block.
    Exact,
    /// About one allocation per `interval_bytes`, a Poisson process on bytes. A block of `s` bytes is recorded with
    /// probability `p = 1 - exp(-s / interval_bytes)` and stands for `1 / p` blocks.
    Sampled {
        /// Mean bytes between samples.
        interval_bytes: u64,
    },
}

/// Why a snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The interval passed.
    Periodic,
    /// The program asked.
    Request,
    /// The program named a checkpoint.
    Checkpoint,
    /// The recording ended while the program goes on.
    Stop,
    /// The process is exiting: what was live for the whole run may be dropped already.
    Exit,
}

/// A span of the recording in which blocks were born.
///
/// The first generations are one snapshot interval long; later ones cover more, so that their number grows with the
/// logarithm of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number, from 0.
    pub number: u32,
    /// When it began, milliseconds since the recording began.
    pub started_elapsed_ms: u64,
}

/// The kernel's view of the process's memory, in bytes. What a system does not tell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resident {
    /// Resident set size.
    pub rss_bytes: u64,
    /// Anonymous pages: heaps, stacks, private writable memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_bytes: Option<u64>,
    /// Pages of mapped files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<u64>,
    /// Swapped out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Address space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_bytes: Option<u64>,
    /// Stacks of the main thread (`VmStk`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_bytes: Option<u64>,
    /// Stacks of other threads, as far as they are resident and the threads known to the recorder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_stack_bytes: Option<u64>,
    /// The highest `rss_bytes` so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Bytes the allocator holds from the kernel: what the program says of its own
    /// (`RecorderBuilder::allocator_statistics`), else the C library's (`mallinfo2`: arena + hblkhd).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator_held_bytes: Option<u64>,
    /// Bytes of that in use (`mallinfo2`: uordblks + hblkhd).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator_used_bytes: Option<u64>,
    /// The most that the process may hold before it is killed: the least limit of its control groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Number of threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
}

/// What else the kernel says of a process, seen from outside. What a system does not tell, or not to us, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Open file descriptors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_descriptors: Option<u64>,
    /// The most descriptors it may open (`RLIMIT_NOFILE`, soft).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_descriptors_limit: Option<u64>,
    /// Mappings of its address space. Looked at less often where there are many: then the last number known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mappings: Option<u64>,
    /// Proportional set size: shared pages divided among those who share them. Looked at less often where it is dear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss_bytes: Option<u64>,
    /// CPU time used so far, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Page faults that needed no disk, so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor_faults: Option<u64>,
    /// Page faults that waited for the disk, so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major_faults: Option<u64>,
    /// Memory that its control group has in use, page cache included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_bytes: Option<u64>,
    /// Of the last ten seconds, how many thousandths some task of the group waited for memory (`memory.pressure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure_permille: Option<u32>,
}

/// What the recorder did not see, could not keep or had to shorten. All zero on a good day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// Blocks born before the recording, or unsampled, that were recorded from a growth on, with their whole size.
    pub resized_unknown_blocks: u64,
    /// Allocations counted without a stack: in a signal handler that interrupted the recorder, or on a dying thread.
    pub blocks_without_stack: u64,
    /// Stacks deeper than the depth limit; their outer frames were dropped.
    pub stacks_depth_limited: u64,
    /// Stacks that ended early at code without unwind information.
    pub stacks_truncated: u64,
    /// Allocations charged to no stack of their own because the table of sites was full.
    pub sites_over_limit: u64,
    /// Blocks charged to no stack of their own because the table of cells (a site in one birth generation) was full.
    pub generations_over_limit: u64,
    /// Allocations not recorded at all because the recorder could get no memory.
    pub out_of_memory_blocks: u64,
    /// Snapshots that could not be written.
    pub snapshots_failed: u64,
    /// Snapshots skipped or late because the previous one was still being written.
    pub snapshots_late: u64,
    /// Timeline points dropped for want of room.
    pub timeline_dropped: u64,
    /// Forked children, which are not recorded.
    pub forked_children: u64,
}

impl Losses {
    /// Each loss with its name in the file, in a fixed order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 11] {
        [
            ("resized_unknown_blocks", self.resized_unknown_blocks),
            ("blocks_without_stack", self.blocks_without_stack),
            ("stacks_depth_limited", self.stacks_depth_limited),
            ("stacks_truncated", self.stacks_truncated),
            ("sites_over_limit", self.sites_over_limit),
            ("generations_over_limit", self.generations_over_limit),
            ("out_of_memory_blocks", self.out_of_memory_blocks),
            ("snapshots_failed", self.snapshots_failed),
            ("snapshots_late", self.snapshots_late),
            ("timeline_dropped", self.timeline_dropped),
            ("forked_children", self.forked_children),
        ]
    }
}

/// One point of the timeline: totals at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
pub struct TimelinePoint {
    /// Milliseconds since the recording began.
    pub elapsed_ms: u64,
    /// Live bytes.
    pub live_bytes: u64,
    /// Resident bytes; 0 when unknown.
    pub rss_bytes: u64,
}

impl From<(u64, u64, u64)> for TimelinePoint {
    fn from((elapsed_ms, live_bytes, rss_bytes): (u64, u64, u64)) -> Self {
        Self { elapsed_ms, live_bytes, rss_bytes }
    }
}

impl From<TimelinePoint> for (u64, u64, u64) {
    fn from(p: TimelinePoint) -> Self {
        (p.elapsed_ms, p.live_bytes, p.rss_bytes)
    }
}

impl Snapshot {
    /// A snapshot with nothing in it: number 0, taken on request at the beginning of its recording.
    #[must_use]
    pub fn empty(process: Process, recording: Recording) -> Self {
        Self {
            taken_unix_ms: recording.started_unix_ms,
            process,
            recording,
            sequence: 0,
            reason: Reason::Request,
            label: None,
            elapsed_ms: 0,
            iterations: 0,
            generations: Vec::new(),
            totals: Counters::default(),
            resident: None,
            usage: None,
            losses: Losses::default(),
            recorder_bytes: 0,
            timeline: Vec::new(),
            modules: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
            scopes: Vec::new(),
            threads: Vec::new(),
            sites: Vec::new(),
        }
    }

    /// The frames of a site, leaf first. Unknown ids yield nothing, so a damaged snapshot gives a short stack.
    pub fn frames_of(&self, site: &Site) -> impl Iterator<Item = &Frame> {
        let mut next = site.stack;
        let mut left = self.stacks.len();
        std::iter::from_fn(move || {
            let node = self.stacks.get(next?.index())?;
            left = left.checked_sub(1)?;
            next = node.parent;
            self.frames.get(node.frame.index())
        })
    }

    /// The scope name of a site.
    #[must_use]
    pub fn scope_of(&self, site: &Site) -> Option<&str> {
        self.scopes.get(site.scope?.index()).map(String::as_str)
    }
}
