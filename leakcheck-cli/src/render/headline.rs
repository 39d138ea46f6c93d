//! The first line of every report: is it leaking, where, how fast.

use super::site_label::SiteLabel;
use super::standing::{aside_in_words, level_in_words, pace_in_words, restarts_in_words};
use super::{CheckReport, DiffReport, Judged, growth, program_name, span_ms};
use crate::units;
use leakcheck::analysis::{Cause, Finding, ResourceFinding, Verdict};
use leakcheck::model::FoldedStack;

/// The first line of `check`.
pub(crate) fn headline_of_check(report: &CheckReport) -> String {
    let answer = match report.verdict() {
        Verdict::Leaking => leaking(report),
        Verdict::Inconclusive => inconclusive(report),
        Verdict::Bounded => bounded(report),
    };
    answer + &aside_in_words(report)
}

fn leaking(report: &CheckReport) -> String {
    let findings: Vec<&Finding> = report.findings(Verdict::Leaking).collect();
    let processes = report.processes.iter().filter(|judged| judged.judgement.verdict == Verdict::Leaking).count();
    let places = match (processes, report.processes.len()) {
        (_, 1) => String::new(),
        (some, all) => format!(" in {some} of {all} processes"),
    };
    if let (Some(restarts), []) = (&report.restarts, findings.as_slice()) {
        return format!("leaking: {}", restarts_in_words(restarts, &report.processes));
    }
    if let ([], Some(figures)) = (findings.as_slice(), resources_in_words(report)) {
        let next =
            if report.is_run_unrecorded() { "; the program has no recorder, which would name the code" } else { "" };
        return format!("leaking: {figures}{next}");
    }
    let figures = resources_in_words(report).map_or_else(String::new, |figures| format!("; and {figures}"));
    let Some(worst) = findings.iter().copied().reduce(|a, b| if speed(b) > speed(a) { b } else { a }) else {
        return format!("leaking{places}");
    };
    let label = site_in_words(&worst.stack, worst.scope.as_deref());
    let cause = match worst.cause {
        Cause::Unknown => String::new(),
        known => format!(", {}", known.in_words()),
    };
    match findings.as_slice() {
        [_] => {
            let rate =
                worst.rate_bytes_per_second.map_or_else(String::new, |r| format!(", {}", units::rate(r.estimate)));
            format!("leaking: 1 site{places}{rate}: {label}{cause}{figures}")
        }
        _ => {
            let together = units::rate(findings.iter().map(|finding| speed(finding)).sum());
            let sites = units::counted(findings.len() as u64, "site");
            let rate = units::rate(speed(worst));
            format!("leaking: {sites}{places}, {together} together; worst: {label}, {rate}{cause}{figures}")
        }
    }
}

/// `name (place)`, shortened when it would be a paragraph.
fn site_in_words(stack: &FoldedStack, scope: Option<&str>) -> String {
    const LETTERS_MAX: usize = 100;
    let text = SiteLabel::of_site(stack, scope).fitted(|text| text.chars().count() <= LETTERS_MAX);
    match text.split_once("  ") {
        Some((name, place)) => format!("{name} ({place})"),
        None => text,
    }
}

fn speed(finding: &Finding) -> f64 {
    finding.rate_bytes_per_second.map_or(0.0, |rate| rate.estimate)
}

fn inconclusive(report: &CheckReport) -> String {
    let more = report
        .processes
        .iter()
        .filter(|judged| judged.judgement.verdict == Verdict::Inconclusive)
        .filter_map(|judged| judged.judgement.more_ms)
        .max()
        .map_or_else(String::new, |ms| format!("; run about {} longer", units::duration(ms)));
    if report.is_run_unrecorded() {
        return format!("inconclusive: the program has no recorder, so only what the kernel tells is known{more}");
    }
    let growing: Vec<&Finding> = report.findings(Verdict::Inconclusive).collect();
    let seen = seen(report);
    let seen = if seen.starts_with("1 ") { format!("{seen} does") } else { format!("{seen} do") };
    match growing.as_slice() {
        [] if !report.passes_self_test() => {
            format!("inconclusive: a planted leak does not show; {seen} not tell yet{more}")
        }
        [] => {
            let figure = report.processes.iter().flat_map(|judged| judged.resources().map(move |one| (judged, one)));
            let open = figure.filter(|(_, one)| one.verdict == Verdict::Inconclusive).map(|(judged, one)| {
                let (first, last) = (level_in_words(one, one.first), level_in_words(one, one.last));
                format!("; {} went from {first} to {last}", resource_of(judged, one))
            });
            format!("inconclusive: {seen} not tell yet{}{more}", open.take(1).collect::<String>())
        }
        [worst, ..] => {
            let label = site_in_words(&worst.stack, worst.scope.as_deref());
            let sites = match growing.len() {
                1 => "1 site may leak".to_owned(),
                many => format!("{many} sites may leak"),
            };
            format!("inconclusive: {sites}, {seen} not tell yet; first: {label}{more}")
        }
    }
}

/// `open file descriptors of shop (pid 4711), 1.2/s, 23 to 171`, the memory that grows fastest or else the first one that
/// leaks; and how many more.
fn resources_in_words(report: &CheckReport) -> Option<String> {
    let speed = |one: &ResourceFinding| match one.rate_per_second {
        Some(rate) if one.resource.is_bytes() => rate.estimate,
        _ => 0.0,
    };
    let (judged, first) = report.leaking_resources().reduce(|a, b| if speed(b.1) > speed(a.1) { b } else { a })?;
    let others = report.leaking_resources().count() - 1;
    let more = if others > 0 { format!("; {others} more") } else { String::new() };
    let rate =
        first.rate_per_second.map_or_else(String::new, |rate| format!(", {}", pace_in_words(first, rate.estimate)));
    let (from, to) = (level_in_words(first, first.first), level_in_words(first, first.last));
    Some(format!("{}{rate}, {from} to {to}{more}", resource_of(judged, first)))
}

/// `open file descriptors of shop (pid 4711)`
fn resource_of(judged: &Judged, finding: &ResourceFinding) -> String {
    let process = &judged.series.process;
    format!("{} of {} (pid {})", finding.resource.in_words(), program_name(process), process.pid)
}

fn bounded(report: &CheckReport) -> String {
    if report.processes.iter().all(|judged| !judged.is_recorded()) {
        let held: u64 = report
            .processes
            .iter()
            .filter_map(Judged::last_moment)
            .filter_map(|last| last.resident)
            .map(|one| one.rss_bytes)
            .sum();
        let held = units::bytes(held);
        return format!(
            "nothing leaks that the kernel's figures show: {}; resident at the end {held}; there is no recorder, so no sites",
            seen(report)
        );
    }
    let sites: usize = report.processes.iter().map(|judged| judged.judgement.sites_judged).sum();
    let live: u64 = report.processes.iter().filter_map(Judged::last_moment).map(|last| last.totals.live().bytes).sum();
    let sites = units::counted(sites as u64, "site");
    format!("nothing leaks: {sites} judged, {}; live at the end {}", seen(report), units::bytes(live))
}

/// `60 snapshots over 59.0 s`, of the longest series when there are several.
fn seen(report: &CheckReport) -> String {
    let snapshots: usize = report.processes.iter().map(|judged| judged.series.moments.len()).sum();
    let span = report.processes.iter().map(|judged| span_ms(&judged.series)).max().unwrap_or(0);
    let snapshots = units::counted(snapshots as u64, "snapshot");
    if span == 0 { snapshots } else { format!("{snapshots} over {}", units::duration(span)) }
}

/// The first line of `diff`.
pub(super) fn headline_of_diff(report: &DiffReport) -> String {
    if let Some((before, after)) = report.resident_alone() {
        return resident_grew(report, before, after);
    }
    let (before, after) = (report.diff.totals.0.live().bytes, report.diff.totals.1.live().bytes);
    let growth = growth(before, after);
    let elapsed_ms = report.diff.elapsed_ms;
    let over = if report.diff.same_recording && elapsed_ms > 0 {
        let rate = units::rate(growth as f64 * 1000.0 / elapsed_ms as f64);
        format!(" in {} ({rate})", units::duration(elapsed_ms))
    } else {
        String::new()
    };
    let span = format!("{} → {} live", units::bytes(before), units::bytes(after));
    let worst = report.diff.sites.first().filter(|site| site.growth_bytes() > 0).map_or_else(String::new, |site| {
        let label = site_in_words(&site.stack, site.scope.as_deref());
        format!("; most at {label}, {}", units::signed_bytes(site.growth_bytes()))
    });
    match growth {
        1.. => format!("grew by {}{over}, {span}{worst}", units::bytes(growth.unsigned_abs())),
        0 => format!("no growth: {}{over} live{worst}", units::bytes(after)),
        _ => format!("shrank by {}{over}, {span}{worst}", units::bytes(growth.unsigned_abs())),
    }
}

/// The same where the kernel is the only source.
fn resident_grew(report: &DiffReport, before: u64, after: u64) -> String {
    let growth = growth(before, after);
    let size = units::bytes(growth.unsigned_abs());
    let change = match growth {
        1.. => format!("resident memory grew by {size}"),
        0 => "resident memory did not grow".to_owned(),
        _ => format!("resident memory shrank by {size}"),
    };
    let over = match report.diff.elapsed_ms {
        ms if report.diff.same_recording && ms > 0 => {
            format!(" in {} ({})", units::duration(ms), units::rate(growth as f64 * 1000.0 / ms as f64))
        }
        _ => String::new(),
    };
    format!(
        "{change}{over}, {} → {}; no sites are known without the recorder",
        units::bytes(before),
        units::bytes(after)
    )
}

/// A verdict in one word, as in the first line.
pub(super) const fn verdict_in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Leaking => "leaking",
        Verdict::Bounded => "bounded",
        Verdict::Inconclusive => "inconclusive",
    }
}
