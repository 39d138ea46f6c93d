//! The clock thread: takes the counters on time, and looks after what must be seen in between: totals for charts, and whether
//! memory is about to run out.

use super::collect::{self, Collector};
use super::generations::Generations;
use super::writer::{self, Job, Reply, Whose};
use super::{RecorderBuilder, byte_map, hook, kernel, sites, thread};
use crate::cgroup::{ControlGroups, MemoryEdge};
use crate::model::{self, Losses, Process, Reason, Snapshot, TimelinePoint};
use crate::unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

/// Timeline points kept between two snapshots; beyond, every other one is dropped.
const TIMELINE_MAX: usize = 4096;
/// Time between looks which control groups the process is in.
const GROUPS_PAUSE: Duration = Duration::from_secs(5);

/// Turns that the program marked.
pub(super) static ITERATIONS: AtomicU64 = AtomicU64::new(0);
/// Children that were forked while it recorded.
pub(super) static FORKED_CHILDREN: AtomicU64 = AtomicU64::new(0);

/// A snapshot that is to be taken.
pub(super) struct Request {
    pub(super) reason: Reason,
    pub(super) label: Option<String>,
    pub(super) whose: Whose,
    pub(super) reply: Option<Reply>,
}

impl Request {
    const fn ends_recording(&self) -> bool {
        matches!(self.reason, Reason::Stop | Reason::Exit)
    }
}

/// What is the same in all snapshots of a recording.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) process: Process,
    pub(super) recording: model::Recording,
}

/// Takes counters on time.
pub(super) struct Clock {
    header: Header,
    every: Option<Duration>,
    tick: Option<Duration>,
    began: Instant,
    sequence: u64,
    late: u64,
    timeline: Vec<TimelinePoint>,
    timeline_dropped: u64,
    generations: Generations,
    collector: Collector,
    allocator: kernel::AllocatorLook,
    groups: ControlGroups,
    groups_found: Instant,
    has_folder: bool,
    edge: MemoryEdge,
    to_writer: SyncSender<Job>,
}

impl Clock {
    pub(super) fn new(
        options: &RecorderBuilder,
        header: Header,
        generations: Generations,
        to_writer: SyncSender<Job>,
    ) -> Self {
        let unless_zero = |span: Duration| (!span.is_zero()).then_some(span);
        Self {
            header,
            every: unless_zero(options.every),
            tick: unless_zero(options.timeline),
            began: Instant::now(),
            sequence: 0,
            late: 0,
            timeline: Vec::new(),
            timeline_dropped: 0,
            generations,
            collector: Collector::default(),
            allocator: kernel::AllocatorLook::new(options.allocator_statistics),
            groups: ControlGroups::of_this_process(),
            groups_found: Instant::now(),
            has_folder: options.out.is_some(),
            edge: MemoryEdge::default(),
            to_writer,
        }
    }

    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let far = Duration::from_secs(3600);
        let mut next_snapshot = Instant::now() + self.every.unwrap_or(far);
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            let wake = if self.tick.is_some() { next_tick.min(next_snapshot) } else { next_snapshot };
            match requests.recv_timeout(wake.saturating_duration_since(now)) {
                Ok(request) => {
                    let last = request.ends_recording();
                    self.take(request);
                    if last {
                        return;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if let Some(tick) = self.tick
                && now >= next_tick
            {
                self.add_timeline_point();
                self.look_at_the_edge();
                unwind::refresh_modules();
                // Summing costs time in proportion to sites and threads: at most one part in a hundred of a core.
                next_tick = now + tick.max(now.elapsed() * 100);
            }
            if now >= next_snapshot {
                if let Some(every) = self.every {
                    self.take(Request { reason: Reason::Periodic, label: None, whose: Whose::Recordings, reply: None });
                    next_snapshot = (next_snapshot + every).max(Instant::now());
                } else {
                    next_snapshot = now + far;
                }
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn add_timeline_point(&mut self) {
        if self.timeline.len() >= TIMELINE_MAX {
            let before = self.timeline.len();
            let mut place = 0;
            self.timeline.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.timeline_dropped += (before - self.timeline.len()) as u64;
        }
        let (live_bytes, rss_bytes) = (collect::live_bytes(), kernel::rss_bytes());
        self.timeline.push(TimelinePoint { elapsed_ms: self.elapsed_ms(), live_bytes, rss_bytes });
    }

    /// Takes a snapshot before the kernel kills the process for want of memory.
    fn look_at_the_edge(&mut self) {
        if self.has_folder && self.groups_found.elapsed() >= GROUPS_PAUSE {
            // The process may have been moved into others.
            (self.groups, self.groups_found) = (ControlGroups::of_this_process(), Instant::now());
        }
        if self.has_folder
            && let Some(label) = self.edge.look(self.elapsed_ms(), &self.groups)
        {
            let (reason, whose) = (Reason::Checkpoint, Whose::RecordingsInNeed);
            self.take(Request { reason, label: Some(label), whose, reply: None });
        }
    }

    fn take(&mut self, request: Request) {
        let elapsed_ms = self.elapsed_ms();
        let collected = self.collector.collect(self.generations.current());
        let timeline = match request.whose {
            // The next snapshot in the folder has these points as well.
            Whose::Watchers if self.has_folder => self.timeline.clone(),
            _ => std::mem::take(&mut self.timeline),
        };
        let totals = collected.iter().fold(model::Counters::default(), |sum, site| sum.plus(site.counters));
        let snapshot = Snapshot {
            sequence: self.sequence,
            reason: request.reason,
            label: request.label,
            taken_unix_ms: kernel::unix_ms(),
            elapsed_ms,
            iterations: ITERATIONS.load(Ordering::Relaxed),
            generations: self.generations.all().to_vec(),
            totals,
            resident: kernel::resident(self.allocator.look(), &self.groups),
            losses: self.losses(),
            recorder_bytes: self.recorder_bytes(),
            timeline,
            ..Snapshot::empty(self.header.process.clone(), self.header.recording.clone())
        };
        self.generations.snapshot_taken(elapsed_ms);
        let job = Job { snapshot, collected, whose: request.whose, reply: request.reply };
        if job.reply.is_some() {
            // The writer ends only after this thread; a failed send would mean it panicked, and then nobody waits.
            let _ = self.to_writer.send(job);
            self.sequence += 1;
            return;
        }
        match self.to_writer.try_send(job) {
            Ok(()) => self.sequence += 1,
            Err(TrySendError::Full(job)) => {
                self.late += 1;
                self.timeline = job.snapshot.timeline;
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    fn losses(&self) -> Losses {
        let relaxed = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut losses = Losses {
            resized_unknown_blocks: relaxed(&hook::LOST.resized_unknown_blocks),
            blocks_without_stack: relaxed(&hook::LOST.blocks_without_stack),
            sites_over_limit: relaxed(&hook::LOST.sites_over_limit),
            generations_over_limit: relaxed(&hook::LOST.generations_over_limit),
            out_of_memory_blocks: relaxed(&hook::LOST.out_of_memory_blocks),
            snapshots_failed: writer::failed_snapshots(),
            snapshots_late: self.late,
            timeline_dropped: self.timeline_dropped,
            forked_children: relaxed(&FORKED_CHILDREN),
            ..Losses::default()
        };
        for state in thread::states() {
            losses.stacks_depth_limited += relaxed(&state.losses.depth_limited);
            losses.stacks_truncated += relaxed(&state.losses.truncated);
        }
        losses
    }

    fn recorder_bytes(&self) -> u64 {
        let tables = sites::bytes() + collect::counter_bytes() + byte_map::resident_bytes();
        let own = thread::bytes() + self.collector.bytes();
        (tables + own) as u64 + writer::assembler_bytes()
    }
}
