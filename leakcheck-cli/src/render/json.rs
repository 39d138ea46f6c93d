//! Reports as JSON for programs. The shapes are described by `docs/check.schema.json` and `docs/diff.schema.json`: keys
//! are only ever added. Every key is always there; what is unknown is `null`.

use super::standing::{Accepted, accepted};
use super::{CheckReport, DiffReport, Judged, SnapshotFacts};
use leakcheck::analysis::{
    Cause, Evidence, Finding, Peers, PerIteration, Rate, ResidentGrowth, Resource, SelfTest, SiteChange, Standing,
    TimeToLimit, Verdict,
};
use leakcheck::model::{FoldedFrame, FoldedStack, Mode, SiteKey, SizeSummary, Source};
use serde::Serialize;

#[derive(Serialize)]
struct CheckDocument<'a> {
    verdict: Verdict,
    findings: Vec<FindingDocument<'a>>,
    processes: Vec<ProcessDocument<'a>>,
    restarts: Option<RestartsDocument<'a>>,
    resources: Vec<ResourceDocument<'a>>,
    peers: Vec<PeersDocument<'a>>,
    accepted: Vec<AcceptedDocument<'a>>,
    run: Option<RunDocument>,
}

#[derive(Serialize)]
struct RestartsDocument<'a> {
    processes: &'a [usize],
    lives: usize,
    life_ms: u64,
    peak_bytes: u64,
    rate_bytes_per_second: Rate,
    text: &'a str,
}

#[derive(Serialize)]
struct ResourceDocument<'a> {
    process: usize,
    resource: Resource,
    verdict: Verdict,
    counts: bool,
    accepted: Option<&'a str>,
    standing: Option<Standing>,
    probability: f64,
    first: u64,
    last: u64,
    rate_per_second: Option<Rate>,
    limit: Option<u64>,
    limit_ms: Option<u64>,
    more_ms: Option<u64>,
    text: &'a str,
    advice: &'a str,
}

#[derive(Serialize)]
struct PeersDocument<'a> {
    executable: &'a str,
    processes: &'a [usize],
    leaking: &'a [usize],
    stands_out: Option<usize>,
    rate_bytes_per_second: Option<Rate>,
    text: &'a str,
}

#[derive(Serialize)]
struct AcceptedDocument<'a> {
    pattern: &'a str,
    findings: u64,
    live_bytes: u64,
}

#[derive(Serialize)]
struct FindingDocument<'a> {
    process: usize,
    verdict: Verdict,
    counts: bool,
    accepted: Option<&'a str>,
    standing: Option<Standing>,
    probability: f64,
    cause: Cause,
    site: SiteDocument<'a>,
    live_bytes: u64,
    live_blocks: u64,
    growth_bytes: i64,
    growth_blocks: i64,
    rate_bytes_per_second: Option<Rate>,
    rate_blocks_per_second: Option<Rate>,
    per_iteration: Option<PerIteration>,
    size: Option<SizeSummary>,
    threads: &'a [String],
    modules: &'a [String],
    evidence: &'a [Evidence],
    advice: &'a str,
    more_ms: Option<u64>,
    settled_ms: Option<u64>,
}

#[derive(Serialize)]
struct SiteDocument<'a> {
    key: String,
    scope: Option<&'a str>,
    title_frame: Option<usize>,
    frames: Vec<FrameDocument<'a>>,
    plumbing: &'a [String],
}

#[derive(Serialize)]
struct FrameDocument<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

#[derive(Serialize)]
struct ProcessDocument<'a> {
    verdict: Verdict,
    pid: u32,
    executable: &'a str,
    build_id: Option<&'a str>,
    host: &'a str,
    started_unix_ms: u64,
    mode: Option<Mode>,
    snapshots: usize,
    span_ms: u64,
    live_bytes: Option<u64>,
    live_blocks: Option<u64>,
    resident_bytes: Option<u64>,
    sites_judged: usize,
    more_ms: Option<u64>,
    time_to_limit: Option<TimeToLimit>,
    resident_growth: Option<&'a ResidentGrowth>,
    self_test: Option<SelfTest>,
    notes: &'a [String],
    source: Source,
}

#[derive(Serialize)]
struct RunDocument {
    folder: String,
    chart: Option<String>,
    exit_code: Option<u8>,
    recorded: bool,
}

/// The report of `check` and `run`: all findings, whatever `--top` says.
pub(crate) fn check(report: &CheckReport) -> String {
    document(&check_document(report))
}

/// The same as a value, to be a part of another document.
pub(super) fn check_document(report: &CheckReport) -> impl Serialize {
    let findings = report.processes.iter().enumerate().flat_map(|(process, judged)| {
        judged.judgement.findings.iter().map(move |finding| finding_document(process, finding))
    });
    CheckDocument {
        verdict: report.verdict(),
        findings: findings.collect(),
        processes: report.processes.iter().map(process_document).collect(),
        restarts: report.restarts.as_ref().map(|found| RestartsDocument {
            processes: &found.series,
            lives: found.lives,
            life_ms: found.life_ms,
            peak_bytes: found.peak_bytes,
            rate_bytes_per_second: found.rate_bytes_per_second,
            text: &found.text,
        }),
        resources: report
            .processes
            .iter()
            .enumerate()
            .flat_map(|(process, judged)| resource_documents(process, judged))
            .collect(),
        peers: report.peers.iter().map(peers_document).collect(),
        accepted: accepted(report).into_iter().map(accepted_document).collect(),
        run: report.run.as_ref().map(|run| RunDocument {
            folder: run.folder.display().to_string(),
            chart: run.chart.as_ref().map(|path| path.display().to_string()),
            exit_code: run.exit_code,
            recorded: run.recorded,
        }),
    }
}

/// All figures, those that are bounded as well.
fn resource_documents(process: usize, judged: &Judged) -> impl Iterator<Item = ResourceDocument<'_>> {
    let judged_alone = !judged.is_recorded();
    judged.judgement.resources.iter().map(move |one| ResourceDocument {
        process,
        resource: one.resource,
        verdict: one.verdict,
        counts: one.counts() && (judged_alone || one.verdict == Verdict::Leaking),
        accepted: one.accepted.as_deref(),
        standing: one.standing,
        probability: one.probability,
        first: one.first,
        last: one.last,
        rate_per_second: one.rate_per_second,
        limit: one.limit,
        limit_ms: one.limit_ms,
        more_ms: one.more_ms,
        text: &one.text,
        advice: &one.advice,
    })
}

fn peers_document(peers: &Peers) -> PeersDocument<'_> {
    PeersDocument {
        executable: &peers.executable,
        processes: &peers.series,
        leaking: &peers.leaking,
        stands_out: peers.stands_out,
        rate_bytes_per_second: peers.rate_bytes_per_second,
        text: &peers.text,
    }
}

fn accepted_document(one: Accepted<'_>) -> AcceptedDocument<'_> {
    AcceptedDocument { pattern: one.pattern, findings: one.findings, live_bytes: one.live_bytes }
}

fn finding_document(process: usize, finding: &Finding) -> FindingDocument<'_> {
    FindingDocument {
        process,
        verdict: finding.verdict,
        counts: finding.counts(),
        accepted: finding.accepted.as_deref(),
        standing: finding.standing,
        probability: finding.probability,
        cause: finding.cause,
        site: site_document(finding.key, &finding.stack, finding.scope.as_deref()),
        live_bytes: finding.live.bytes,
        live_blocks: finding.live.blocks,
        growth_bytes: finding.growth_bytes,
        growth_blocks: finding.growth_blocks,
        rate_bytes_per_second: finding.rate_bytes_per_second,
        rate_blocks_per_second: finding.rate_blocks_per_second,
        per_iteration: finding.per_iteration,
        size: finding.size,
        threads: &finding.threads,
        modules: &finding.modules,
        evidence: &finding.evidence,
        advice: &finding.advice,
        more_ms: finding.more_ms,
        settled_ms: finding.settled_ms,
    }
}

fn site_document<'a>(key: SiteKey, stack: &'a FoldedStack, scope: Option<&'a str>) -> SiteDocument<'a> {
    let title = stack.title();
    SiteDocument {
        key: key.to_string(),
        scope,
        title_frame: stack.frames.iter().position(|frame| Some(frame) == title),
        frames: stack.frames.iter().map(frame_document).collect(),
        plumbing: &stack.plumbing,
    }
}

fn frame_document(frame: &FoldedFrame) -> FrameDocument<'_> {
    FrameDocument { function: &frame.function.name, file: frame.function.file.as_deref(), line: frame.function.line }
}

fn process_document(judged: &Judged) -> ProcessDocument<'_> {
    let Judged { series, judgement, self_test } = judged;
    let recorded = judged.is_recorded();
    let last = judged.last_moment();
    let live = last.filter(|_| recorded).map(|last| last.totals.live());
    ProcessDocument {
        verdict: judgement.verdict,
        pid: series.process.pid,
        executable: &series.process.executable,
        build_id: series.process.build_id.as_deref(),
        host: &series.process.host,
        started_unix_ms: series.process.started_unix_ms,
        mode: recorded.then_some(series.recording.mode),
        snapshots: series.moments.len(),
        span_ms: super::span_ms(series),
        live_bytes: live.map(|live| live.bytes),
        live_blocks: live.map(|live| live.blocks),
        resident_bytes: last.and_then(|last| last.resident).map(|resident| resident.rss_bytes),
        sites_judged: judgement.sites_judged,
        more_ms: judgement.more_ms,
        time_to_limit: judgement.time_to_limit,
        resident_growth: judgement.resident.as_ref(),
        self_test: *self_test,
        notes: &judgement.notes,
        source: series.recording.source,
    }
}

#[derive(Serialize)]
struct DiffDocument<'a> {
    same_recording: bool,
    elapsed_ms: u64,
    baseline: SnapshotDocument<'a>,
    current: SnapshotDocument<'a>,
    growth_bytes: i64,
    growth_blocks: i64,
    sites: Vec<ChangeDocument<'a>>,
}

#[derive(Serialize)]
struct SnapshotDocument<'a> {
    path: String,
    pid: u32,
    executable: &'a str,
    build_id: Option<&'a str>,
    mode: Mode,
    sequence: u64,
    taken_unix_ms: u64,
    live_bytes: u64,
    live_blocks: u64,
    resident_bytes: Option<u64>,
    source: Source,
}

#[derive(Serialize)]
struct ChangeDocument<'a> {
    change: Change,
    site: SiteDocument<'a>,
    baseline_live_bytes: u64,
    baseline_live_blocks: u64,
    live_bytes: u64,
    live_blocks: u64,
    growth_bytes: i64,
    growth_blocks: i64,
    growth_percent: Option<f64>,
    probability: Option<f64>,
    evidence: Option<&'a Evidence>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    New,
    Gone,
    Grown,
    Shrunk,
    Same,
}

/// The report of `diff`: all sites that differ, whatever `--top` says.
pub(crate) fn diff(report: &DiffReport) -> String {
    let (before, after) = (report.diff.totals.0.live(), report.diff.totals.1.live());
    document(&DiffDocument {
        same_recording: report.diff.same_recording,
        elapsed_ms: report.diff.elapsed_ms,
        baseline: snapshot_document(&report.baseline),
        current: snapshot_document(&report.current),
        growth_bytes: super::growth(before.bytes, after.bytes),
        growth_blocks: super::growth(before.blocks, after.blocks),
        sites: report.diff.sites.iter().map(change_document).collect(),
    })
}

fn snapshot_document(facts: &SnapshotFacts) -> SnapshotDocument<'_> {
    let live = facts.totals.live();
    SnapshotDocument {
        path: facts.path.display().to_string(),
        pid: facts.process.pid,
        executable: &facts.process.executable,
        build_id: facts.process.build_id.as_deref(),
        mode: facts.recording.mode,
        sequence: facts.sequence,
        taken_unix_ms: facts.taken_unix_ms,
        live_bytes: live.bytes,
        live_blocks: live.blocks,
        resident_bytes: facts.resident.map(|resident| resident.rss_bytes),
        source: facts.recording.source,
    }
}

fn change_document(site: &SiteChange) -> ChangeDocument<'_> {
    let (before, after) = (site.live_before(), site.live_after());
    ChangeDocument {
        change: match (site.baseline, site.current, site.growth_bytes()) {
            (None, ..) => Change::New,
            (_, None, _) => Change::Gone,
            (.., 1..) => Change::Grown,
            (.., 0) => Change::Same,
            _ => Change::Shrunk,
        },
        site: site_document(site.key, &site.stack, site.scope.as_deref()),
        baseline_live_bytes: before.bytes,
        baseline_live_blocks: before.blocks,
        live_bytes: after.bytes,
        live_blocks: after.blocks,
        growth_bytes: site.growth_bytes(),
        growth_blocks: site.growth_blocks(),
        growth_percent: (before.bytes > 0).then(|| site.growth_bytes() as f64 * 100.0 / before.bytes as f64),
        probability: site.probability,
        evidence: site.evidence.as_ref(),
    }
}

/// What `plot` wrote.
#[derive(Serialize)]
pub(crate) struct PlotDocument {
    /// The picture.
    pub(crate) output: String,
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// The verdict over the series drawn.
    pub(crate) verdict: Verdict,
    /// Snapshots drawn.
    pub(crate) snapshots: usize,
}

/// The report of `plot`.
pub(crate) fn plot(plot: &PlotDocument) -> String {
    document(plot)
}

fn document(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("all keys are strings");
    text.push('\n');
    text
}
