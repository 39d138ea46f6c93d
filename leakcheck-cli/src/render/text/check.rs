//! The report of `check` and `run`.

use super::page::{BOLD, DIM, Look, Page, field_start, verdict_style};
use crate::render::headline::{cause_in_words, headline_of_check, verdict_in_words};
use crate::render::site_label::{SiteLabel, simple_name};
use crate::render::{CheckReport, Judged, program_name};
use crate::units;
use anstyle::Style;
use leakcheck::analysis::{Finding, Verdict};
use leakcheck::model::{FoldedFrame, FoldedStack, Origin};
use std::fmt::Write;

/// Frames shown of a stack.
const FRAMES_MAX: usize = 8;
/// Bounded sites shown, one line each.
const BOUNDED_MAX: usize = 3;
/// Inconclusive sites shown beside leaking ones, one line each.
const UNCLEAR_MAX: usize = 5;

/// The report of `check` and `run`.
pub(crate) fn check(report: &CheckReport, look: Look) -> String {
    let mut page = Page::new(look);
    let style = verdict_style(report.verdict());
    page.headline(&headline_of_check(report), style);
    for judged in &report.processes {
        page.blank();
        process(&mut page, judged, report.processes.len() > 1);
        findings(&mut page, judged, report.top);
        for note in &judged.judgement.notes {
            page.blank();
            page.wrapped("note: ", note, DIM);
        }
    }
    next_steps(&mut page, report);
    page.out
}

fn process(page: &mut Page, judged: &Judged, with_verdict: bool) {
    let series = &judged.series;
    let mut line = format!("{}, pid {}", program_name(&series.process), series.process.pid);
    if !series.process.host.is_empty() {
        let _ = write!(line, " on {}", series.process.host);
    }
    let _ = write!(line, ": {}", judged.data_in_words());
    if let Some(last) = judged.last_moment() {
        let live = last.totals.live();
        if judged.recorded {
            let _ = write!(line, "; live {} in {}", units::bytes(live.bytes), units::counted(live.blocks, "block"));
        }
        if let Some(resident) = last.resident {
            let _ = write!(line, "; resident {}", units::bytes(resident.rss_bytes));
        }
    }
    if with_verdict {
        line = format!("{}: {line}", verdict_in_words(judged.judgement.verdict));
        page.wrapped("", &line, verdict_style(judged.judgement.verdict));
    } else {
        page.wrapped("", &line, DIM);
    }
}

/// Sites that decide the verdict are told in full, the others in a line each.
fn findings(page: &mut Page, judged: &Judged, top: usize) {
    let of = |verdict| judged.judgement.findings.iter().filter(move |finding: &&Finding| finding.verdict == verdict);
    let deciding = if of(Verdict::Leaking).next().is_some() { Verdict::Leaking } else { Verdict::Inconclusive };
    for (place, finding) in of(deciding).take(top).enumerate() {
        page.blank();
        one_finding(page, place + 1, finding);
    }
    let hidden = of(deciding).count().saturating_sub(top);
    if hidden > 0 {
        page.blank();
        page.line(&format!("… and {hidden} more; --top {} shows them all", top + hidden), DIM);
    }
    if deciding != Verdict::Inconclusive {
        in_brief(page, "not clear yet", of(Verdict::Inconclusive), UNCLEAR_MAX.min(top));
    }
    in_brief(page, "bounded, the largest", of(Verdict::Bounded), BOUNDED_MAX.min(top));
}

/// One line for each of the first `most` sites: what is live, and its name.
fn in_brief<'a>(page: &mut Page, title: &str, findings: impl Iterator<Item = &'a Finding>, most: usize) {
    for (place, finding) in findings.take(most).enumerate() {
        if place == 0 {
            page.blank();
            page.line(&format!("{title}:"), verdict_style(finding.verdict));
        }
        let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
        page.row(&format!("{:>12}  ", units::bytes(finding.live.bytes)), &label, Style::new());
    }
}

fn one_finding(page: &mut Page, number: usize, finding: &Finding) {
    let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
    let style = verdict_style(finding.verdict);
    page.row(&format!("{number:>2}. {:<13}", verdict_in_words(finding.verdict)), &label, style);
    let mut speed = finding.rate_bytes_per_second.map_or_else(
        || "no rate".to_owned(),
        |r| format!("{} (95 %: {})", units::rate(r.estimate), units::rate_interval(r.estimate, r.low, r.high)),
    );
    if let Some(turn) = finding.per_iteration {
        let _ = write!(speed, "; per loop turn {:+.3} blocks, {:+.0} B", turn.blocks, turn.bytes);
    }
    page.field("rate", &speed);
    let mut cause = cause_in_words(finding.cause).to_owned();
    if let Some(plumbing) = finding.stack.plumbing.last() {
        let _ = write!(cause, ", allocated by {}", simple_name(plumbing));
    }
    page.field("cause", &cause);
    page.field("live", &live_in_words(finding));
    let told = finding.evidence.iter().filter(|evidence| !evidence.text.is_empty());
    for (place, evidence) in told.enumerate() {
        page.field(if place == 0 { "evidence" } else { "" }, &evidence.text);
    }
    stack(page, &finding.stack);
    if !finding.threads.is_empty() {
        page.field("threads", &finding.threads.join(", "));
    }
    if let Some(ms) = finding.more_ms {
        page.field("to know", &format!("run about {} longer", units::duration(ms)));
    }
    if !finding.advice.is_empty() {
        page.field("do", &finding.advice);
    }
}

pub(in crate::render) fn live_in_words(finding: &Finding) -> String {
    let live = finding.live;
    let mut text = format!("{} in {}", units::bytes(live.bytes), units::counted(live.blocks, "block"));
    if let Some(size) = finding.size {
        if size.smallest == size.largest {
            let _ = write!(text, " of {}", units::bytes(size.smallest));
        } else {
            let _ = write!(text, " of {} to {}", units::bytes(size.smallest), units::bytes(size.largest));
        }
    }
    let verb = if finding.growth_bytes < 0 { "shrank" } else { "grew" };
    let _ = write!(text, "; {verb} by {}", units::bytes(finding.growth_bytes.unsigned_abs()));
    if (finding.growth_bytes < 0) == (finding.growth_blocks < 0) {
        let _ = write!(text, " and {}", units::counted(finding.growth_blocks.unsigned_abs(), "block"));
    }
    text
}

/// The program's own frames; of frames of other packages in a row only the innermost, and how many follow.
fn stack(page: &mut Page, stack: &FoldedStack) {
    let mut name = "stack";
    let mut left = FRAMES_MAX;
    let mut frames = stack.frames.as_slice();
    while let [first, rest @ ..] = frames {
        if left == 0 {
            page.field("", &format!("… {} more", frames.len()));
            return;
        }
        left -= 1;
        page.row(&field_start(std::mem::take(&mut name)), &SiteLabel::of_frame(first), Style::new());
        let same_kind = rest.iter().take_while(|frame| frame.origin == Origin::Dependency).count();
        frames = if first.origin == Origin::Dependency && same_kind > 1 {
            page.field("", &format!("… {}", skipped_in_words(&rest[..same_kind])));
            &rest[same_kind..]
        } else {
            rest
        };
    }
}

/// `5 in tokio, hyper`
fn skipped_in_words(frames: &[FoldedFrame]) -> String {
    let mut packages: Vec<String> = Vec::new();
    for frame in frames {
        let name = simple_name(&frame.function.name);
        let package = name.split("::").next().unwrap_or_default().to_owned();
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    let others = if packages.len() > 3 { " and others" } else { "" };
    packages.truncate(3);
    format!("{} in {}{others}", frames.len(), packages.join(", "))
}

fn next_steps(page: &mut Page, report: &CheckReport) {
    page.blank();
    if let Some(run) = &report.run {
        let folder = run.folder.display();
        match &run.chart {
            Some(chart) => page.line(&format!("heap over time: {}", chart.display()), Style::new()),
            None => page.line("heap over time: not drawn", Style::new()),
        }
        page.line(
            &format!("snapshots: {}", if run.recorded { folder.to_string() } else { "none".into() }),
            Style::new(),
        );
        if !run.recorded {
            page.wrapped("next: ", ADD_THE_RECORDER, BOLD);
        }
    }
    match report.verdict() {
        Verdict::Leaking if report.run.is_none() => {
            page.line(&format!("next: see it grow with `leakcheck plot {} -o heap.png`", report.named), Style::new());
        }
        Verdict::Leaking => page.line("next: look at site 1 first; after the fix, run this again", Style::new()),
        Verdict::Inconclusive if report.run.as_ref().is_none_or(|run| run.recorded) => {
            page.line("next: record for longer, or take snapshots more often, and check again", Style::new());
        }
        Verdict::Inconclusive => {}
        Verdict::Bounded => {
            page.line(
                &format!("next: keep it so in CI with `leakcheck check --strict {}`", report.named),
                Style::new(),
            );
        }
    }
}

/// How a program gets the recorder.
pub(in crate::render) const ADD_THE_RECORDER: &str = "add the recorder to the program and build it again: `cargo add leakcheck`, then in its main.rs \
     `#[global_allocator] static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();`";
