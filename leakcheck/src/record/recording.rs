//! The life of a recording: its start, its two threads, its snapshots, its end.
//!
//! The clock thread takes the counters on time; the writer thread looks names up and writes files, which may take
//! longer than an interval. Both block all signals and belong to the recorder: what they allocate is not recorded.

use super::assemble::Assembler;
use super::collect::{self, CollectedSite, Collector};
use super::error::Kind;
use super::generations::Generations;
use super::weight::Interval;
use super::{RecordError, RecorderBuilder, byte_map, control, hook, kernel, sites, thread};
use crate::cgroup::{ControlGroups, MemoryEdge};
use crate::control::Activity;
use crate::format::SnapshotFolder;
use crate::model::{self, Losses, Mode, Process, Reason, Snapshot, Source, TimelinePoint};
use crate::unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Snapshots waiting for the writer; more periodic ones are skipped and counted.
const QUEUE: usize = 4;
/// Timeline points kept between two snapshots; beyond, every other one is dropped.
const TIMELINE_MAX: usize = 4096;
/// How long an exiting process waits for its last snapshot.
const EXIT_PATIENCE: Duration = Duration::from_secs(60);
/// Time between looks which control groups the process is in.
const GROUPS_PAUSE: Duration = Duration::from_secs(5);
/// Fewer bytes that predate a recording are not worth a word: a program has hardly begun.
const PREDATING_MIN_BYTES: u64 = 1 << 20;

static CONTROL: Mutex<Option<Control>> = Mutex::new(None);
static RUNNING: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);
static FORKED_CHILDREN: AtomicU64 = AtomicU64::new(0);
static ITERATIONS: AtomicU64 = AtomicU64::new(0);
static FAILED_SNAPSHOTS: AtomicU64 = AtomicU64::new(0);
static ASSEMBLER_BYTES: AtomicU64 = AtomicU64::new(0);
/// The number of the lease that the recording is on; 0 when it is the program's own.
static LEASED: AtomicU64 = AtomicU64::new(NO_LEASE);
const NO_LEASE: u64 = 0;

struct Control {
    recording: model::Recording,
    requests: Sender<Request>,
    threads: [JoinHandle<()>; 2],
}

struct Request {
    reason: Reason,
    label: Option<String>,
    whose: Whose,
    reply: Option<Sender<Result<Snapshot, RecordError>>>,
}

/// For whom a snapshot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// For the folder of the recording, when there is one.
    Recordings,
    /// The same, when memory is nearly used up: no names are looked up, which would take more of it.
    RecordingsInNeed,
    /// For a watcher alone.
    Watchers,
}

impl Request {
    const fn ends_recording(&self) -> bool {
        matches!(self.reason, Reason::Stop | Reason::Exit)
    }
}

/// Entry point to recordings.
#[derive(Debug)]
pub struct Recorder;

impl Recorder {
    /// Options for a recording; [`start`](RecorderBuilder::start) begins it.
    #[must_use]
    pub fn builder() -> RecorderBuilder {
        RecorderBuilder::default()
    }
}

/// A running recording. Dropping it takes the last snapshot, writes it, and ends the recording.
#[derive(Debug)]
#[must_use = "the recording ends when this is dropped"]
pub struct Recording {
    ended: bool,
}

impl Recording {
    pub(super) fn begin(options: RecorderBuilder) -> Result<Self, RecordError> {
        thread::internally(|| start(options, NO_LEASE))?;
        Ok(Self { ended: false })
    }

    /// Takes the last snapshot, writes it when there is a folder, ends the recording, and returns the snapshot.
    ///
    /// # Errors
    ///
    /// When the snapshot cannot be written. The recording has ended all the same.
    pub fn finish(mut self) -> Result<Snapshot, RecordError> {
        self.ended = true;
        thread::internally(|| end(Reason::Stop, Whose::Recordings))
    }

    /// Leaves the recording running until the process exits.
    pub(super) fn until_exit(mut self) {
        self.ended = true;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.ended {
            // The writer has counted and reported a failure already.
            let _ = thread::internally(|| end(Reason::Stop, Whose::Recordings));
        }
    }
}

/// Takes a snapshot now, writes it when the recording has a folder, and returns it.
///
/// # Errors
///
/// When nothing records, or the snapshot cannot be written.
pub fn snapshot() -> Result<Snapshot, RecordError> {
    ask(Reason::Request, None, Whose::Recordings)
}

/// Takes a snapshot for a watcher, which the folder of the recording does not get.
pub(super) fn snapshot_for_a_watcher() -> Result<Snapshot, RecordError> {
    ask(Reason::Periodic, None, Whose::Watchers)
}

/// Takes a snapshot with a name, to be found again in the series and drawn in charts. Without a recording it does
/// nothing; a failure is counted in the next snapshot's losses.
pub fn checkpoint(name: &str) {
    if is_running() {
        let label = thread::internally(|| name.to_owned());
        // Losses carry the failure.
        let _ = ask(Reason::Checkpoint, Some(label), Whose::Recordings);
    }
}

/// Marks one turn of the program's main loop: a request, a frame, a batch. Growth is then reported per turn, the most
/// convincing form there is. Costs one addition.
#[inline]
pub fn iteration() {
    // Relaxed: a counter.
    ITERATIONS.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// Whether nothing is recorded, begins or ends.
pub(super) fn is_idle() -> bool {
    CONTROL.try_lock().is_ok_and(|control| control.is_none())
}

fn ask(reason: Reason, label: Option<String>, whose: Whose) -> Result<Snapshot, RecordError> {
    thread::internally(|| {
        let requests = {
            let control = control()?;
            control.as_ref().ok_or(Kind::NotRunning)?.requests.clone()
        };
        let (reply, answer) = mpsc::channel();
        requests.send(Request { reason, label, whose, reply: Some(reply) }).map_err(|_| Kind::Ended)?;
        answer.recv().map_err(|_| Kind::Ended)?
    })
}

/// The recording in progress. In a forked child its lock may be held for ever by a thread that exists no more, so
/// the child never takes it.
fn control() -> Result<MutexGuard<'static, Option<Control>>, RecordError> {
    if FORKED.load(Ordering::Relaxed) {
        return Err(Kind::Forked.into());
    }
    Ok(CONTROL.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A recording on behalf of a watcher. Dropping it ends the recording, if it is still that one.
#[derive(Debug)]
pub(super) struct Lease(u64);

impl Lease {
    pub(super) fn begin(options: RecorderBuilder) -> Result<Self, RecordError> {
        static NEXT: AtomicU64 = AtomicU64::new(NO_LEASE + 1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        start(options, number)?;
        Ok(Self(number))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        end_lease_if(|number| number == self.0);
    }
}

/// Ends a watcher's recording: what the program asks for goes before.
pub(super) fn end_lease() {
    end_lease_if(|number| number != NO_LEASE);
}

fn end_lease_if(is_meant: impl Fn(u64) -> bool) {
    thread::internally(|| {
        if let Ok(control) = control()
            && is_meant(LEASED.load(Ordering::Relaxed))
        {
            // The watcher notices that its recording is no more; nobody else hears of a failure.
            let _ = end_locked(control, Reason::Stop, Whose::Watchers);
        }
    });
}

/// What is recorded, and for whom.
pub(super) fn activity() -> (Activity, Option<model::Recording>) {
    let recording = control().ok().and_then(|control| control.as_ref().map(|control| control.recording.clone()));
    let activity = match &recording {
        None => Activity::Dormant,
        Some(_) if LEASED.load(Ordering::Relaxed) == NO_LEASE => Activity::Recording,
        Some(_) => Activity::Woken,
    };
    (activity, recording)
}

/// Begins to record, on a lease or for the program itself, which takes the place of a lease.
fn start(options: RecorderBuilder, lease: u64) -> Result<(), RecordError> {
    let mut control = control()?;
    while control.is_some() {
        if lease != NO_LEASE || LEASED.load(Ordering::Relaxed) == NO_LEASE {
            return Err(Kind::AlreadyRunning.into());
        }
        let _ = end_locked(control, Reason::Stop, Whose::Watchers);
        control = self::control()?;
    }
    let open = |folder: &PathBuf| {
        let failed = |source| Kind::Folder { path: folder.clone(), source };
        SnapshotFolder::open(folder, options.keep).map_err(failed)
    };
    let files = options.out.as_ref().map(open).transpose()?;
    unwind::prepare().map_err(|why| Kind::Unwinder(why.to_string()))?;
    sites::prepare().ok_or(Kind::OutOfMemory)?;
    thread::prepare();
    watch_process_events();

    let interval = match options.mode {
        Mode::Exact => Interval::EXACT,
        Mode::Sampled { interval_bytes } => Interval(interval_bytes),
    };
    let recording = model::Recording {
        leakcheck_version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: options.mode,
        started_unix_ms: kernel::unix_ms(),
        every_ms: options.every.as_millis() as u64,
        source: Source::Recorder,
        predating_bytes: kernel::bytes_in_use(options.allocator_statistics)
            .filter(|bytes| *bytes >= PREDATING_MIN_BYTES),
    };
    let header = Header { process: kernel::process(), recording: recording.clone() };
    let (requests, incoming) = mpsc::channel();
    let (to_writer, jobs) = mpsc::sync_channel(QUEUE);
    let (begin, beginning) = mpsc::channel::<Clock>();
    let names = options.names;
    // Before anything is recorded: what a starting thread allocates until it is known as the recorder's is not the program's.
    let writer = spawn("leakcheck-write", move || write_jobs(&jobs, files, names)).map_err(Kind::Thread)?;
    let clock = spawn("leakcheck-clock", move || {
        if let Ok(clock) = beginning.recv() {
            clock.run(&incoming);
        }
    })
    .map_err(Kind::Thread)?;
    let generation = hook::switch_on(interval, options.depth);
    if !hook::is_reached() {
        hook::switch_off();
        return Err(Kind::NotTheGlobalAllocator.into());
    }
    let generations = Generations::new(interval, generation);
    // The clock's thread waits for it.
    let _ = begin.send(Clock::new(&options, header, generations, to_writer));
    *control = Some(Control { recording, requests, threads: [writer, clock] });
    LEASED.store(lease, Ordering::Relaxed);
    RUNNING.store(true, Ordering::Relaxed);
    Ok(())
}

/// Starts a thread of the recorder's own and waits until it is known as such. All signals are blocked in it: handlers run
/// on the program's threads, as without us.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    // SAFETY: both sets are valid for writing, and the mask is put back below.
    let before = unsafe {
        let (mut all, mut before) = (std::mem::zeroed::<libc::sigset_t>(), std::mem::zeroed::<libc::sigset_t>());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let (known, wait) = mpsc::channel();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        thread::become_recorders_own();
        let _ = known.send(());
        work();
    });
    // SAFETY: `before` is the mask this thread had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    // Without a thread the other end is gone, and nothing is waited for.
    let _ = wait.recv();
    spawned
}

/// Takes the last snapshot and ends the recording.
fn end(reason: Reason, whose: Whose) -> Result<Snapshot, RecordError> {
    end_locked(control()?, reason, whose)
}

/// Nobody begins another recording until this one has ended altogether: the hook is switched off at the end.
fn end_locked(
    mut control: MutexGuard<'static, Option<Control>>,
    reason: Reason,
    whose: Whose,
) -> Result<Snapshot, RecordError> {
    let Control { requests, threads, .. } = control.take().ok_or(Kind::NotRunning)?;
    LEASED.store(NO_LEASE, Ordering::Relaxed);
    RUNNING.store(false, Ordering::Relaxed);
    let (reply, answer) = mpsc::channel();
    requests.send(Request { reason, label: None, whose, reply: Some(reply) }).map_err(|_| Kind::Ended)?;
    let snapshot = if reason == Reason::Exit {
        answer.recv_timeout(EXIT_PATIENCE).map_err(|_| Kind::Ended)?
    } else {
        let snapshot = answer.recv().map_err(|_| Kind::Ended)?;
        for thread in threads {
            // A panic there has been printed; nothing is left to do for it.
            let _ = thread.join();
        }
        snapshot
    };
    hook::switch_off();
    snapshot
}

/// Registers for exit and fork, once per process.
fn watch_process_events() {
    extern "C" fn at_exit() {
        if is_running() {
            thread::internally(|| {
                if LEASED.load(Ordering::Relaxed) != NO_LEASE {
                    // The watcher has its snapshots, and the program shall end as without it.
                    hook::switch_off();
                    return;
                }
                // The writer has counted and reported a failure already.
                let _ = end(Reason::Exit, Whose::Recordings);
            });
        }
    }
    extern "C" fn after_fork_in_parent() {
        if is_running() {
            FORKED_CHILDREN.fetch_add(1, Ordering::Relaxed);
        }
    }
    // Only this thread exists in the child: nobody would take snapshots, and locks of other threads stay locked. So
    // the child is not recorded; frees of blocks recorded before are still recognised.
    extern "C" fn after_fork_in_child() {
        hook::switch_off();
        // Where nothing was recorded, and no thread but the one that waits for watchers was there, all is as it should be.
        let sound = !RUNNING.swap(false, Ordering::Relaxed) && control::was_alone();
        FORKED.store(!sound, Ordering::Relaxed);
    }
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the handlers are plain functions that live as long as the process.
        unsafe {
            libc::atexit(at_exit);
            libc::pthread_atfork(None, Some(after_fork_in_parent), Some(after_fork_in_child));
        }
    });
}

#[derive(Debug, Clone)]
struct Header {
    process: Process,
    recording: model::Recording,
}

/// A snapshot whose counters are taken and whose names are not.
struct Job {
    snapshot: Snapshot,
    collected: Vec<CollectedSite>,
    whose: Whose,
    reply: Option<Sender<Result<Snapshot, RecordError>>>,
}

/// Takes counters on time.
struct Clock {
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
    fn new(options: &RecorderBuilder, header: Header, generations: Generations, to_writer: SyncSender<Job>) -> Self {
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

    fn run(mut self, requests: &Receiver<Request>) {
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
            snapshots_failed: relaxed(&FAILED_SNAPSHOTS),
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
        (tables + own) as u64 + ASSEMBLER_BYTES.load(Ordering::Relaxed)
    }
}

/// Whether the control groups leave room for looking names up: some hundred megabytes for a moment, and the files that
/// names are read from.
fn room_for_names() -> bool {
    const ROOM_BYTES: u64 = 160 << 20;
    let executable = std::fs::metadata("/proc/self/exe").map_or(0, |data| data.len());
    let fullest = ControlGroups::of_this_process().fullest();
    fullest.is_none_or(|group| group.limit_bytes.saturating_sub(group.used_bytes) >= ROOM_BYTES + executable)
}

/// The writer thread: names, files, answers.
fn write_jobs(jobs: &Receiver<Job>, mut files: Option<SnapshotFolder>, names: bool) {
    let mut assembler = Assembler::default();
    let mut reported = false;
    for Job { mut snapshot, collected, whose, reply } in jobs {
        // A watcher looks names up by itself. Here it takes memory, which may be all there is left.
        let names = names && whose == Whose::Recordings && room_for_names();
        assembler.fill(&mut snapshot, collected, names);
        let files = files.as_mut().filter(|_| whose != Whose::Watchers);
        let written = files.map_or(Ok(()), |files| files.write(&snapshot));
        if let Err(error) = &written {
            // Relaxed: a statistic.
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
