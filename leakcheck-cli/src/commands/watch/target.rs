//! One watched process: its figures, its recorder, its series, and what is thought of it.

use super::history::{History, keep_short};
use super::pace::pause;
use super::sequences::Sequences;
use crate::commands::Judging;
use crate::error::Error;
use crate::input::{
    Figures, ProcessFigures, RecorderError, RecorderSocket, Symbols, Unwatchable, forks_workers,
    recording_from_outside, runs, ticks_now, unix_ms_now,
};
use crate::render::{
    EvidenceKind, Judged, ProcessState, ProcessView, growth_rate, program_name, remarks, watched_sites,
};
use crate::units;
use leakcheck::analysis::Verdict;
use leakcheck::cgroup::MemoryEdge;
use leakcheck::control::Activity;
use leakcheck::format::SnapshotFolder;
use leakcheck::model::{Mode, Process, Reason, Series, Snapshot, TimelinePoint};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Snapshot files kept of a process; older ones are thinned out.
const FILES_KEPT: usize = 500;
/// A series of more moments is thinned out like the files.
const MOMENTS_MAX: usize = FILES_KEPT + FILES_KEPT / 10;
/// A snapshot is taken again after this many times what one takes, so that they take one part in fifty of the time.
const SNAPSHOT_PAUSE: u32 = 50;
/// What a snapshot takes is the median of so many: one that has new names to look up takes much longer.
const SNAPSHOTS_TIMED: usize = 5;
const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A judgement is made again after this many times what it took.
const JUDGE_PAUSE: u32 = 20;
/// A shorter series says nothing, and is left out once another has begun.
const PAST_MOMENTS_MIN: usize = 6;
/// Series of one process that stay in the report; the files of all stay.
const PAST_MAX: usize = 8;
/// A recorder that was lost so often is left alone.
const FAILURES_MAX: u32 = 3;
/// Sites shown of a process.
const SITES_MAX: usize = 40;

/// How to watch.
pub(super) struct Plan {
    pub(super) judging: Judging,
    pub(super) mode: Mode,
    /// Whether descendants are watched too.
    pub(super) children: bool,
    pub(super) every: Duration,
    pub(super) folder: PathBuf,
    /// When the watch began.
    pub(super) began: Instant,
}

/// A process that was just met, with its first sample.
pub(super) struct Met {
    figures: ProcessFigures,
    latest: Figures,
}

impl Met {
    pub(super) fn by_pid(pid: u32) -> Result<Self, Unwatchable> {
        let mut figures = ProcessFigures::open(pid)?;
        let latest = figures.sample().ok_or(Unwatchable::Gone)?;
        Ok(Self { figures, latest })
    }
}

/// A process that is watched, or was.
pub(super) struct Target {
    figures: ProcessFigures,
    pub(super) process: Process,
    pub(super) executable: Option<PathBuf>,
    recorder: Option<RecorderSocket>,
    symbols: Symbols,
    woken: bool,
    /// It answers no more. A process that ends takes its recorder down first, so only the next look tells what that means.
    recorder_lost: bool,
    looks_for_recorder: bool,
    /// When it became another program.
    became: Option<Instant>,
    /// Times it was lost, one after the other, without a snapshot in between.
    failures: u32,
    files: SnapshotFolder,
    /// The last snapshot could not be written, and that was told.
    cannot_write: bool,
    judged: Option<Judged>,
    /// What was recorded of it before it became another program, or its recorder was woken anew.
    past: Vec<Judged>,
    judged_moments: usize,
    /// Verdicts that came out alike, one after the other.
    settled: u32,
    pub(super) latest: Figures,
    live_bytes: Option<u64>,
    history: History,
    pub(super) state: ProcessState,
    edge: MemoryEdge,
    began_unix_ms: u64,
    began: Instant,
    pub(super) next_sample: Instant,
    next_snapshot: Instant,
    /// What the last snapshots took.
    took: VecDeque<Duration>,
    next_judgement: Instant,
    /// When it was last seen alive, in clock ticks since the machine's start.
    pub(super) seen_ticks: u64,
    /// Samples since the last snapshot, for its timeline.
    timeline: Vec<TimelinePoint>,
}

/// Until this age a process may be about to listen for us.
const YOUNG: Duration = Duration::from_secs(5);
/// By this age a process has forked its workers, or is none that does.
const FORKS_WITHIN: Duration = Duration::from_millis(1500);

/// What happened to a process, told once.
pub(super) type Event = String;

impl Target {
    /// Begins to watch.
    pub(super) fn open(met: Met, plan: &Plan, events: &mut Vec<Event>) -> Result<Self, Error> {
        let Met { figures, latest } = met;
        let pid = figures.pid;
        let process = figures.identity();
        let now = Instant::now();
        let files = SnapshotFolder::open(&plan.folder, FILES_KEPT).map(SnapshotFolder::not_synced);
        let mut target = Self {
            process,
            executable: figures.executable(),
            recorder: None,
            symbols: Symbols::of_process(pid),
            woken: false,
            recorder_lost: false,
            looks_for_recorder: false,
            became: None,
            failures: 0,
            files: files.map_err(|e| Error::because(format!("write to {}", plan.folder.display()), e))?,
            cannot_write: false,
            judged: None,
            past: Vec::new(),
            judged_moments: 0,
            settled: 0,
            latest,
            live_bytes: None,
            history: History::default(),
            state: ProcessState::Running,
            edge: MemoryEdge::default(),
            began_unix_ms: unix_ms_now(),
            began: now,
            next_sample: now,
            next_snapshot: now,
            took: VecDeque::new(),
            next_judgement: now,
            seen_ticks: ticks_now(),
            timeline: Vec::new(),
            figures,
        };
        target.find_recorder(plan, events);
        if target.figures.is_restricted() {
            let name = target.name();
            events.push(format!(
                "{name} belongs to another user: its descriptors, mappings and recorder are kept from us; run leakcheck as \
                 that user, or as root"
            ));
        }
        Ok(target)
    }

    /// `shop (pid 4711)`
    pub(super) fn name(&self) -> String {
        format!("{} (pid {})", program_name(&self.process), self.process.pid)
    }

    pub(super) fn started_ticks(&self) -> u64 {
        self.figures.started_ticks
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == ProcessState::Running
    }

    /// Looks for a recorder, and wakes it. A young process may not listen yet; and one that forks its workers is left asleep
    /// when these are watched too, because children of a recording process are not recorded.
    fn find_recorder(&mut self, plan: &Plan, events: &mut Vec<Event>) {
        self.woken = false;
        // Another program is as old as it has been seen.
        let age = self.became.map_or_else(|| self.figures.age(), |became| became.elapsed());
        self.looks_for_recorder = age < YOUNG;
        if plan.children && age < FORKS_WITHIN && !self.is_a_worker() {
            return;
        }
        let Some(mut recorder) = RecorderSocket::of(&self.figures) else { return };
        self.looks_for_recorder = false;
        let name = self.name();
        if self.failures >= FAILURES_MAX {
            events.push(format!("{name}: its recorder fails again and again, and is left alone"));
            return;
        }
        let outcome = recorder.state().and_then(|state| match state.activity {
            Activity::Recording | Activity::Woken => Ok(Some("its recorder runs already, and stays as it is")),
            Activity::Dormant if plan.children && self.forks_workers() => Ok(None),
            Activity::Dormant => {
                recorder.wake(plan.mode)?;
                self.woken = true;
                Ok(Some("its recorder was woken"))
            }
        });
        events.push(match outcome {
            Ok(Some(what)) => {
                self.recorder = Some(recorder);
                format!("{name}: {what}")
            }
            Ok(None) => format!("{name}: its recorder is left asleep, so that the workers it forks can be recorded"),
            Err(error) => {
                format!("{name}: its recorder cannot be used ({error}); only the kernel's figures are known")
            }
        });
    }

    /// Whether its parent runs the same program: it is not one that will fork workers itself.
    fn is_a_worker(&self) -> bool {
        self.process.parent_pid.zip(self.executable.as_deref()).is_some_and(|(parent, path)| runs(parent, path))
    }

    fn forks_workers(&self) -> bool {
        self.executable.as_ref().is_some_and(|executable| forks_workers(self.process.pid, executable))
    }

    /// Samples when it is time, and takes a snapshot when it is time for that.
    pub(super) fn look(&mut self, plan: &Plan, sequences: &mut Sequences, events: &mut Vec<Event>) -> bool {
        let now = Instant::now();
        if !self.is_running() || now < self.next_sample {
            return false;
        }
        self.next_sample = (self.next_sample + plan.every).max(now);
        let Some(figures) = self.figures.sample() else {
            self.end(plan, sequences, events);
            return true;
        };
        self.latest = figures;
        self.seen_ticks = ticks_now();
        // A recorder in a stopped process answers when it goes on.
        let is_waited_for = figures.is_stopped && (self.recorder.is_some() || self.recorder_lost);
        let executable = self.figures.executable();
        if executable.is_some() && executable != self.executable {
            self.executable = executable;
            self.become_another(plan, events);
        } else if !is_waited_for && std::mem::take(&mut self.recorder_lost) {
            self.begin_anew();
            self.find_recorder(plan, events);
        } else if self.looks_for_recorder {
            self.find_recorder(plan, events);
            if self.recorder.is_some() {
                self.begin_anew();
            }
        }
        let live_bytes = self.live_bytes;
        self.history.push(plan.began.elapsed(), figures.resident.rss_bytes, live_bytes);
        if self.recorder.is_none() {
            let elapsed_ms = self.elapsed_ms();
            let rss_bytes = figures.resident.rss_bytes;
            self.timeline.push(TimelinePoint { elapsed_ms, live_bytes: 0, rss_bytes });
        }
        if is_waited_for {
            return true;
        }
        let fullest = self.figures.groups.fullest();
        let edge = self.edge.look_at(units::whole_ms(plan.began.elapsed()), fullest, figures.usage.pressure_permille);
        if let Some(label) = edge {
            events.push(format!("{}: {label}; a snapshot is taken", self.name()));
            self.snapshot(plan, Some(label), sequences, events);
        } else if now >= self.next_snapshot {
            self.snapshot(plan, None, sequences, events);
        } else if let Some(recorder) = &mut self.recorder
            && recorder.keep_alive().is_err()
        {
            self.lose_recorder();
        }
        true
    }

    fn elapsed_ms(&self) -> u64 {
        units::whole_ms(self.began.elapsed())
    }

    /// It has ended. What was sampled since the last snapshot is kept in one more.
    fn end(&mut self, plan: &Plan, sequences: &mut Sequences, events: &mut Vec<Event>) {
        self.state = ProcessState::Ended;
        self.recorder = None;
        if let Some(last) = self.timeline.last() {
            let elapsed_ms = last.elapsed_ms;
            let snapshot = Snapshot { elapsed_ms, ..self.seen_from_outside(plan) };
            // Alone it would say nothing.
            if self.judged.as_ref().is_some_and(|judged| judged.series.accepts(&snapshot)) {
                self.keep(plan, snapshot, sequences, events);
            }
        }
        events.push(format!("{} ended", self.name()));
    }

    /// The process runs another program now: another series begins.
    fn become_another(&mut self, plan: &Plan, events: &mut Vec<Event>) {
        let before = self.name();
        self.process = self.figures.identity();
        (self.became, self.recorder) = (Some(Instant::now()), None);
        events.push(format!("{before} became {}", program_name(&self.process)));
        self.begin_anew();
        self.find_recorder(plan, events);
    }

    /// The snapshots that follow are of another recording.
    fn begin_anew(&mut self) {
        self.began = Instant::now();
        self.began_unix_ms = unix_ms_now();
        self.next_snapshot = self.began;
        self.timeline.clear();
        self.symbols = Symbols::of_process(self.process.pid);
        self.settled = 0;
        self.live_bytes = None;
    }

    fn lose_recorder(&mut self) {
        self.recorder = None;
        self.failures += 1;
        self.recorder_lost = true;
    }

    /// Takes a snapshot, of the recorder or of the kernel's figures, and writes it.
    pub(super) fn snapshot(
        &mut self,
        plan: &Plan,
        label: Option<String>,
        sequences: &mut Sequences,
        events: &mut Vec<Event>,
    ) {
        let began = Instant::now();
        let taken = self.recorder.as_mut().map(RecorderSocket::snapshot);
        let took = began.elapsed();
        let taken = match taken {
            Some(taken) => taken.map(|snapshot| self.completed(snapshot)),
            None => Ok(self.seen_from_outside(plan)),
        };
        let mut snapshot = match taken {
            Ok(snapshot) => snapshot,
            Err(RecorderError::Refused(why)) if !self.is_asleep() => {
                events.push(format!("{}: no snapshot: {why}", self.name()));
                return;
            }
            // Or whoever had it record does so no more.
            Err(_) => {
                self.lose_recorder();
                return;
            }
        };
        if label.is_some() {
            (snapshot.reason, snapshot.label) = (Reason::Checkpoint, label);
        }
        self.live_bytes = self.recorder.is_some().then(|| snapshot.totals.live().bytes);
        self.failures = 0;
        self.keep(plan, snapshot, sequences, events);
        self.next_snapshot = began + plan.every.max(self.pause_after(took)).max(pause(self.began.elapsed()));
    }

    /// Writes a snapshot, and adds it to the series.
    fn keep(&mut self, plan: &Plan, mut snapshot: Snapshot, sequences: &mut Sequences, events: &mut Vec<Event>) {
        snapshot.sequence = sequences.next(snapshot.process.pid);
        match self.files.write(&snapshot) {
            Ok(()) => self.cannot_write = false,
            Err(error) => {
                if !std::mem::replace(&mut self.cannot_write, true) {
                    events.push(format!("failed to {error}; the watch goes on, and later snapshots are tried again"));
                }
            }
        }
        self.add(plan, &snapshot);
    }

    /// The pause after a snapshot that took so long.
    fn pause_after(&mut self, took: Duration) -> Duration {
        self.took.push_back(took);
        if self.took.len() < SNAPSHOTS_TIMED {
            return Duration::ZERO;
        }
        let mut sorted: Vec<Duration> = self.took.iter().copied().collect();
        sorted.sort_unstable();
        self.took.pop_front();
        (sorted[SNAPSHOTS_TIMED / 2] * SNAPSHOT_PAUSE).min(SNAPSHOT_PAUSE_MAX)
    }

    fn is_asleep(&mut self) -> bool {
        let state = self.recorder.as_mut().and_then(|recorder| recorder.state().ok());
        state.is_some_and(|state| state.activity == Activity::Dormant)
    }

    /// A recorder's snapshot with what only we know: the pid as seen from here, and the kernel's other figures.
    fn completed(&mut self, mut snapshot: Snapshot) -> Snapshot {
        self.symbols.fill_in(&mut snapshot);
        snapshot.process.pid = self.process.pid;
        snapshot.process.parent_pid = self.process.parent_pid;
        snapshot.usage = Some(self.latest.usage);
        snapshot
    }

    fn seen_from_outside(&mut self, plan: &Plan) -> Snapshot {
        let every_ms = units::whole_ms(plan.every);
        Snapshot {
            reason: Reason::Periodic,
            taken_unix_ms: unix_ms_now(),
            elapsed_ms: self.elapsed_ms(),
            resident: Some(self.latest.resident),
            usage: Some(self.latest.usage),
            timeline: std::mem::take(&mut self.timeline),
            ..Snapshot::empty(self.process.clone(), recording_from_outside(self.began_unix_ms, every_ms))
        }
    }

    /// Adds a snapshot to the series.
    fn add(&mut self, plan: &Plan, snapshot: &Snapshot) {
        let Some(judged) = self.judged.as_mut().filter(|judged| judged.series.accepts(snapshot)) else {
            let before = self.judged.replace(plan.judging.judge_one(Series::new(snapshot)));
            self.past.extend(before.filter(|judged| judged.series.moments.len() >= PAST_MOMENTS_MIN));
            if self.past.len() > PAST_MAX {
                self.past.remove(0);
            }
            (self.judged_moments, self.settled) = (1, 0);
            return;
        };
        judged.series.push(snapshot);
        keep_short(&mut judged.series.timeline);
        if judged.series.moments.len() > MOMENTS_MAX {
            judged.series.thin(|moment| self.files.keeps(moment.sequence));
            self.judged_moments = 0;
        }
    }

    /// Judges when there is something new, and not too often for what it takes; whether it did.
    pub(super) fn judge(&mut self, plan: &Plan, last: bool) -> bool {
        let began = Instant::now();
        let Some(judged) = &mut self.judged else { return false };
        let moments = judged.series.moments.len();
        if moments == self.judged_moments || (!last && began < self.next_judgement) {
            return false;
        }
        self.judged_moments = moments;
        let before = judged.judgement.verdict;
        plan.judging.judge_again(judged);
        self.settled = if judged.judgement.verdict == before { self.settled + 1 } else { 0 };
        self.next_judgement = began + (began.elapsed() * JUDGE_PAUSE).max(pause(self.began.elapsed()));
        true
    }

    /// Whether the verdict is one, and will hardly change.
    pub(super) fn has_verdict(&self) -> bool {
        const MOMENTS_MIN: usize = 20;
        const ALIKE_MIN: u32 = 3;
        self.judged.as_ref().is_some_and(|judged| match judged.judgement.verdict {
            Verdict::Inconclusive => false,
            Verdict::Leaking => self.settled >= ALIKE_MIN,
            Verdict::Bounded => self.settled >= ALIKE_MIN && judged.series.moments.len() >= MOMENTS_MIN,
        })
    }

    /// Takes a last snapshot and puts the recorder back as it was.
    pub(super) fn finish(&mut self, plan: &Plan, sequences: &mut Sequences, events: &mut Vec<Event>) {
        let figures = self.is_running().then(|| self.figures.sample()).flatten();
        let answers = figures.is_some_and(|figures| !figures.is_stopped || self.recorder.is_none());
        if let Some(figures) = figures.filter(|_| answers) {
            self.latest = figures;
            self.snapshot(plan, None, sequences, events);
        }
        if let Some(recorder) = self.recorder.as_mut().filter(|_| self.woken && answers) {
            // Without an answer it goes back to sleep when the connection ends.
            let _ = recorder.sleep();
        }
    }

    /// The series with their judgements, out of the target, the present one last; given back with
    /// [`put_back`](Self::put_back).
    pub(super) fn take_judged(&mut self) -> Vec<Judged> {
        let mut all = std::mem::take(&mut self.past);
        all.extend(self.judged.take());
        all
    }

    pub(super) fn put_back(&mut self, mut judged: Vec<Judged>) {
        self.judged = judged.pop();
        self.past = judged;
    }

    pub(super) fn view(&self) -> ProcessView {
        let judgement = self.judged.as_ref().map(|judged| &judged.judgement);
        let (sites, site_counts) =
            self.judged.as_ref().map_or_else(Default::default, |one| watched_sites(one, SITES_MAX));
        let recording = self.judged.as_ref().map(|judged| &judged.series.recording);
        let evidence = match recording {
            Some(recording) if recording.source.is_recorder() => match recording.mode {
                Mode::Exact => EvidenceKind::Exact,
                Mode::Sampled { .. } => EvidenceKind::Sampled,
            },
            _ => EvidenceKind::Kernel,
        };
        ProcessView {
            pid: self.process.pid,
            name: program_name(&self.process).to_owned(),
            state: self.state,
            evidence,
            verdict: judgement.map_or(Verdict::Inconclusive, |judgement| judgement.verdict),
            more_ms: judgement.and_then(|judgement| judgement.more_ms),
            rate_bytes_per_second: judgement.and_then(growth_rate),
            resident: self.latest.resident,
            usage: self.latest.usage,
            live_bytes: self.live_bytes,
            history: self.history.points().to_vec(),
            sites,
            site_counts,
            remarks: judgement.map_or_else(Vec::new, remarks),
        }
    }
}
