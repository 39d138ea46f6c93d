//! The life of a recording: its start, its two threads, its snapshots, its end.
//!
//! The clock thread takes the counters on time (`clock.rs`); the writer thread looks names up and writes files (`writer.rs`).
//! Both block all signals and belong to the recorder: what they allocate is not recorded.

use super::clock::{Clock, FORKED_CHILDREN, Header, ITERATIONS, Request};
use super::error::Kind;
use super::generations::Generations;
use super::weight::Interval;
use super::writer::{Whose, write_jobs};
use super::{RecordError, RecorderBuilder, control, hook, kernel, sites, thread};
use crate::control::Activity;
use crate::format::SnapshotFolder;
use crate::model::{self, Mode, Reason, Snapshot, Source};
use crate::unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Snapshots waiting for the writer; more periodic ones are skipped and counted.
const QUEUE: usize = 4;
/// How long an exiting process waits for its last snapshot.
const EXIT_PATIENCE: Duration = Duration::from_secs(60);
/// Fewer bytes that predate a recording are not worth a word: a program has hardly begun.
const PREDATING_MIN_BYTES: u64 = 1 << 20;

static CONTROL: Mutex<Option<Control>> = Mutex::new(None);
static RUNNING: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);
/// The number of the lease that the recording is on; 0 when it is the program's own.
static LEASED: AtomicU64 = AtomicU64::new(NO_LEASE);
const NO_LEASE: u64 = 0;

struct Control {
    recording: model::Recording,
    requests: Sender<Request>,
    threads: [JoinHandle<()>; 2],
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
