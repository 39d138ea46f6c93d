//! Outputs, one file per form. Each is pure: from a report to text or a picture, with no input, output or clock.

pub(crate) mod chart;
pub(crate) mod github;
mod headline;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod live;
#[cfg(test)]
mod made_up;
#[cfg(test)]
pub(crate) mod made_up_watch;
pub(crate) mod markdown;
pub(crate) mod metrics;
pub(crate) mod sarif;
mod site_label;
mod source_place;
mod stack_lines;
mod standing;
pub(crate) mod text;
pub(crate) mod watch_json;
pub(crate) mod watch_lines;
pub(crate) mod watch_view;
mod watched;

pub(crate) use headline::headline_of_check;
pub(crate) use watch_view::{EvidenceKind, HistoryPoint, OwnCost, ProcessState, ProcessView, WatchView};
pub(crate) use watched::{growth_rate, remarks, watched_sites};

use leakcheck::analysis::{Diff, Finding, Judgement, Peers, ResourceFinding, Restarts, SelfTest, Verdict};
use leakcheck::model::{Counters, Mode, Moment, Process, Reason, Recording, Resident, Series, Snapshot};
use std::path::PathBuf;

/// A series with its verdict.
pub(crate) struct Judged {
    pub(crate) series: Series,
    pub(crate) judgement: Judgement,
    /// What a planted leak showed, where that was asked for.
    pub(crate) self_test: Option<SelfTest>,
}

impl Judged {
    /// Whether it comes from the recorder; else only what the kernel says is known.
    pub(crate) const fn is_recorded(&self) -> bool {
        self.series.recording.source.is_recorder()
    }

    /// What the kernel's figures show, as far as it is worth telling: beside recorded sites what is not bounded.
    fn resources(&self) -> impl Iterator<Item = &ResourceFinding> {
        let all = !self.is_recorded();
        self.judgement.resources.iter().filter(move |one| all || one.verdict != Verdict::Bounded)
    }

    /// The last moment before the exit, at which much is freed that was live all along.
    fn last_moment(&self) -> Option<&Moment> {
        let moments = &self.series.moments;
        moments.iter().rfind(|moment| moment.reason != Reason::Exit).or(moments.last())
    }

    /// `60 snapshots over 59.0 s, every block recorded`
    fn data_in_words(&self) -> String {
        let noun = if self.is_recorded() { "snapshot" } else { "sample" };
        let mut text = crate::units::counted(self.series.moments.len() as u64, noun);
        if span_ms(&self.series) > 0 {
            text.push_str(&format!(" over {}", crate::units::duration(span_ms(&self.series))));
        }
        format!("{text}, {}", source_in_words(&self.series.recording))
    }
}

/// Several series with their verdicts, and what they show together.
pub(crate) struct JudgedAll {
    /// One per process; never empty.
    pub(crate) processes: Vec<Judged>,
    /// Growth that restarts hide.
    pub(crate) restarts: Option<Restarts>,
    /// Processes that are alike, beside each other.
    pub(crate) peers: Vec<Peers>,
}

/// What `check` and `run` have to say.
pub(crate) struct CheckReport {
    /// One per process; never empty.
    pub(crate) processes: Vec<Judged>,
    /// Growth that restarts hide.
    pub(crate) restarts: Option<Restarts>,
    /// Processes that are alike, beside each other.
    pub(crate) peers: Vec<Peers>,
    /// How many sites to show of each process.
    pub(crate) top: usize,
    /// The series as the user named them, quoted for a shell: for the commands proposed next.
    pub(crate) named: String,
    /// Whether not to know is a failure.
    pub(crate) inconclusive_fails: bool,
    /// What `run` adds.
    pub(crate) run: Option<RunFacts>,
}

/// What is known of a program that was run.
pub(crate) struct RunFacts {
    /// Where the snapshots are.
    pub(crate) folder: PathBuf,
    /// The picture, when one was drawn.
    pub(crate) chart: Option<PathBuf>,
    /// Exit code of the program; 128 + n when a signal ended it. Without one it was only watched.
    pub(crate) exit_code: Option<u8>,
    /// Whether the program wrote snapshots.
    pub(crate) recorded: bool,
}

impl CheckReport {
    /// The report of `check`, where not to know is no failure.
    pub(crate) fn of(judged: JudgedAll, top: usize, named: String) -> Self {
        let JudgedAll { processes, restarts, peers } = judged;
        Self { processes, restarts, peers, top, named, inconclusive_fails: false, run: None }
    }

    /// The worst verdict of all processes; *leaking* when restarts hide a leak, and not *bounded* when a planted leak was not
    /// seen.
    pub(crate) fn verdict(&self) -> Verdict {
        let restarts = self.restarts.as_ref().map(|_| Verdict::Leaking);
        let unseen = (!self.passes_self_test()).then_some(Verdict::Inconclusive);
        let processes = self.processes.iter().map(|judged| judged.judgement.verdict).max();
        restarts.max(unseen).max(processes).unwrap_or(Verdict::Inconclusive)
    }

    /// Whether each planted leak was seen.
    pub(crate) fn passes_self_test(&self) -> bool {
        self.processes.iter().filter_map(|judged| judged.self_test).all(|test| test.passed)
    }

    fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.processes.iter().flat_map(|judged| &judged.judgement.findings)
    }

    /// The kernel's figures that leak and count, each with its process.
    fn leaking_resources(&self) -> impl Iterator<Item = (&Judged, &ResourceFinding)> {
        let of = |judged| Judged::resources(judged).map(move |one| (judged, one));
        self.processes.iter().flat_map(of).filter(|(_, one)| one.verdict == Verdict::Leaking && one.counts())
    }

    /// Whether the program that was run has no recorder.
    fn is_run_unrecorded(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.recorded)
    }

    /// Those of one verdict that count.
    fn findings(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        self.all_findings().filter(move |finding| finding.verdict == verdict && finding.counts())
    }
}

/// What `diff` has to say.
pub(crate) struct DiffReport {
    pub(crate) diff: Diff,
    pub(crate) baseline: SnapshotFacts,
    pub(crate) current: SnapshotFacts,
    /// How many sites to show.
    pub(crate) top: usize,
}

impl DiffReport {
    /// Resident memory before and after, where a snapshot comes from the kernel alone.
    fn resident_alone(&self) -> Option<(u64, u64)> {
        let recorded = |facts: &SnapshotFacts| facts.recording.source.is_recorder();
        if recorded(&self.baseline) && recorded(&self.current) {
            return None;
        }
        let resident = |facts: &SnapshotFacts| facts.resident.map_or(0, |resident| resident.rss_bytes);
        Some((resident(&self.baseline), resident(&self.current)))
    }
}

/// A snapshot without its sites.
pub(crate) struct SnapshotFacts {
    pub(crate) path: PathBuf,
    pub(crate) process: Process,
    pub(crate) recording: Recording,
    pub(crate) sequence: u64,
    pub(crate) taken_unix_ms: u64,
    pub(crate) totals: Counters,
    pub(crate) resident: Option<Resident>,
}

impl SnapshotFacts {
    pub(crate) fn of(path: PathBuf, snapshot: &Snapshot) -> Self {
        Self {
            path,
            process: snapshot.process.clone(),
            recording: snapshot.recording.clone(),
            sequence: snapshot.sequence,
            taken_unix_ms: snapshot.taken_unix_ms,
            totals: snapshot.totals,
            resident: snapshot.resident,
        }
    }
}

/// The file name of an executable.
pub(crate) fn program_name(process: &Process) -> &str {
    let name = process.executable.rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "(unknown program)" } else { name }
}

/// `every block recorded`, `no recorder`
fn source_in_words(recording: &Recording) -> String {
    match recording.mode {
        _ if !recording.source.is_recorder() => "no recorder".to_owned(),
        Mode::Exact => "every block recorded".to_owned(),
        Mode::Sampled { interval_bytes } => {
            format!("sampled, one allocation per {}", crate::units::bytes(interval_bytes))
        }
    }
}

/// Time between the first and the last snapshot.
fn span_ms(series: &Series) -> u64 {
    match (series.moments.first(), series.moments.last()) {
        (Some(first), Some(last)) => last.elapsed_ms.saturating_sub(first.elapsed_ms),
        _ => 0,
    }
}

/// `after` less `before`.
fn growth(before: u64, after: u64) -> i64 {
    let growth = i128::from(after) - i128::from(before);
    i64::try_from(growth).unwrap_or(if growth < 0 { i64::MIN } else { i64::MAX })
}
