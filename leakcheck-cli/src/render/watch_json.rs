//! A watch as JSON, one document a line: samples while it runs, the report at its end. The shapes are described by
//! `docs/watch.schema.json`: keys are only ever added. What is unknown is `null`.

use super::json::check_document;
use super::{CheckReport, EvidenceKind, ProcessState, ProcessView, WatchView};
use leakcheck::analysis::Verdict;
use leakcheck::model::{Resident, Usage};
use serde::Serialize;

#[derive(Serialize)]
struct SampleDocument<'a> {
    kind: &'static str,
    taken_unix_ms: u64,
    elapsed_ms: u64,
    pid: u32,
    name: &'a str,
    evidence: &'static str,
    verdict: Verdict,
    more_ms: Option<u64>,
    rate_bytes_per_second: Option<f64>,
    live_bytes: Option<u64>,
    resident: &'a Resident,
    usage: &'a Usage,
    sites: SitesDocument,
    remarks: &'a [String],
}

#[derive(Serialize)]
struct SitesDocument {
    leaking: u64,
    inconclusive: u64,
    bounded: u64,
}

#[derive(Serialize)]
struct ReportDocument<T> {
    kind: &'static str,
    report: T,
}

/// A line for each process that was sampled.
pub(crate) fn samples(view: &WatchView) -> String {
    view.processes
        .iter()
        .filter(|process| process.state == ProcessState::Running)
        .map(|one| sample(view, one))
        .collect()
}

fn sample(view: &WatchView, process: &ProcessView) -> String {
    let [leaking, inconclusive, bounded] = process.site_counts;
    line(&SampleDocument {
        kind: "sample",
        taken_unix_ms: view.taken_unix_ms,
        elapsed_ms: view.elapsed_ms,
        pid: process.pid,
        name: &process.name,
        evidence: match process.evidence {
            EvidenceKind::Exact => "exact",
            EvidenceKind::Sampled => "sampled",
            EvidenceKind::Kernel => "kernel",
        },
        verdict: process.verdict,
        more_ms: process.more_ms,
        rate_bytes_per_second: process.rate_bytes_per_second,
        live_bytes: process.live_bytes,
        resident: &process.resident,
        usage: &process.usage,
        sites: SitesDocument { leaking, inconclusive, bounded },
        remarks: &process.remarks,
    })
}

/// The last line.
pub(crate) fn report(report: &CheckReport) -> String {
    line(&ReportDocument { kind: "report", report: check_document(report) })
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("all keys are strings");
    text.push('\n');
    text
}
