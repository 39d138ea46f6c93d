//! The report of `check` and `run`.

use super::page::{BOLD, DIM, Look, Page, field_start, verdict_style};
use crate::render::headline::{headline_of_check, verdict_in_words};
use crate::render::site_label::{SiteLabel, simple_name};
use crate::render::stack_lines::{StackLine, shown_lines};
use crate::render::standing::{
    MEND_RESTARTS, accepted, accepted_in_words, is_known, is_settled, limit_in_words, per_turn_in_words, rate_in_words,
    resident_in_words, resource_in_words, restarts_in_words, self_test_in_words, settled_in_words,
};
use crate::render::{CheckReport, Judged, program_name};
use crate::units;
use anstyle::Style;
use leakcheck::analysis::{Finding, Restarts, Verdict};
use leakcheck::model::FoldedStack;
use std::fmt::Write;

/// Processes shown.
const PROCESSES_MAX: usize = 20;
/// Bounded sites shown, one line each.
const BOUNDED_MAX: usize = 3;
/// Inconclusive sites shown beside leaking ones, one line each.
const UNCLEAR_MAX: usize = 5;

/// The report of `check` and `run`.
pub(crate) fn check(report: &CheckReport, look: Look) -> String {
    let mut page = Page::new(look);
    let style = verdict_style(report.verdict());
    page.headline(&headline_of_check(report), style);
    if let Some(restarts) = &report.restarts {
        page.blank();
        restarts_paragraph(&mut page, restarts, report);
    }
    for peers in &report.peers {
        page.blank();
        let leaks = if peers.leaking.is_empty() { BOLD } else { verdict_style(Verdict::Leaking) };
        page.wrapped("", &peers.text, leaks);
    }
    let alone = report.processes.len() == 1;
    let mut notes: Vec<&str> = Vec::new();
    for judged in worst_first(report).into_iter().take(PROCESSES_MAX) {
        page.blank();
        process(&mut page, judged, !alone);
        if !alone && judged.judgement.verdict == Verdict::Bounded {
            continue;
        }
        findings(&mut page, judged, report.top);
        resources(&mut page, judged, alone);
        if let Some(growth) = &judged.judgement.resident {
            page.blank();
            page.wrapped("", &resident_in_words(growth), verdict_style(Verdict::Inconclusive));
        }
        if let Some(test) = judged.self_test {
            page.blank();
            let verdict = if test.passed { Verdict::Bounded } else { Verdict::Inconclusive };
            page.wrapped("", &self_test_in_words(test), verdict_style(verdict));
        }
        // What holds for several is told once.
        for note in judged.judgement.notes.iter().filter(|note| !notes.contains(&note.as_str())) {
            page.blank();
            page.wrapped("note: ", note, DIM);
        }
        notes.extend(judged.judgement.notes.iter().map(String::as_str));
    }
    if let Some(hidden) = report.processes.len().checked_sub(PROCESSES_MAX).filter(|hidden| *hidden > 0) {
        page.blank();
        page.line(&format!("… and {hidden} more processes, none of them worse; --format json has them all"), DIM);
    }
    let accepted = accepted(report);
    if !accepted.is_empty() {
        page.blank();
    }
    for one in &accepted {
        page.wrapped("", &accepted_in_words(one), DIM);
    }
    next_steps(&mut page, report);
    page.out
}

/// The processes, those that leak before those that may, and these before the others.
fn worst_first(report: &CheckReport) -> Vec<&Judged> {
    let mut processes: Vec<&Judged> = report.processes.iter().collect();
    processes.sort_by_key(|judged| std::cmp::Reverse(judged.judgement.verdict));
    processes
}

/// One finding in full, as in the report: for outputs that hold text.
pub(in crate::render) fn finding_in_full(finding: &Finding) -> String {
    let mut page = Page::new(Look { columns: None, colour: false });
    fields(&mut page, finding);
    page.out
}

/// The first line says it already when no site leaks.
fn restarts_paragraph(page: &mut Page, restarts: &Restarts, report: &CheckReport) {
    if report.findings(Verdict::Leaking).next().is_some() {
        page.wrapped("", &restarts_in_words(restarts, &report.processes), verdict_style(Verdict::Leaking));
    }
    page.field("evidence", &restarts.text);
    page.field("do", MEND_RESTARTS);
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
        if judged.is_recorded() {
            let _ = write!(line, "; live {} in {}", units::bytes(live.bytes), units::counted(live.blocks, "block"));
        }
        if let Some(resident) = last.resident {
            let _ = write!(line, "; resident {}", units::bytes(resident.rss_bytes));
        }
    }
    if let Some(ms) = judged.judgement.more_ms.filter(|_| with_verdict) {
        let _ = write!(line, "; run about {} longer to know", units::duration(ms));
    }
    if with_verdict {
        line = format!("{}: {line}", verdict_in_words(judged.judgement.verdict));
        page.wrapped("", &line, verdict_style(judged.judgement.verdict));
    } else {
        page.wrapped("", &line, DIM);
    }
    if let Some(limit) = judged.judgement.time_to_limit {
        page.wrapped("", &limit_in_words(limit), verdict_style(Verdict::Leaking));
    }
}

/// The kernel's figures: what leaks or may leak with what to do, what is bounded in a line.
/// What the kernel's figures show; `all` of them, or those that are not at rest.
fn resources(page: &mut Page, judged: &Judged, all: bool) {
    let shown = || judged.resources().filter(|one| all || one.verdict != Verdict::Bounded);
    if shown().next().is_some() {
        page.blank();
    }
    for one in shown() {
        let style = if one.counts() { verdict_style(one.verdict) } else { DIM };
        let start = format!("{:<13} ", verdict_in_words(one.verdict));
        page.wrapped(&start, &resource_in_words(one), if one.verdict == Verdict::Bounded { DIM } else { style });
        if one.verdict != Verdict::Bounded && one.counts() {
            page.field("do", &one.advice);
        }
    }
}

/// Sites that decide the verdict are told in full, the others in a line each.
fn findings(page: &mut Page, judged: &Judged, top: usize) {
    let all = || judged.judgement.findings.iter();
    let of = |verdict| all().filter(move |finding: &&Finding| finding.verdict == verdict && finding.counts());
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
    let (some, few) = (UNCLEAR_MAX.min(top), BOUNDED_MAX.min(top));
    if deciding != Verdict::Inconclusive {
        in_brief(page, "not clear yet", of(Verdict::Inconclusive), some);
    }
    in_brief(page, "known from the baseline, and not counted", all().filter(|finding| is_known(finding)), some);
    in_brief(page, "accepted, and not counted", all().filter(|finding| finding.accepted.is_some()), some);
    in_brief(page, "bounded, as the baseline shows", all().filter(|finding| is_settled(finding)), some);
    let bounded = of(Verdict::Bounded).filter(|finding| !is_settled(finding));
    in_brief(page, "bounded, the largest", bounded, few);
}

/// One line for each of the first `most` sites: what is live, how fast it grows or since when it does not, and its name.
fn in_brief<'a>(page: &mut Page, title: &str, findings: impl Iterator<Item = &'a Finding>, most: usize) {
    let findings: Vec<&Finding> = findings.collect();
    let shown = &findings[..most.min(findings.len())];
    let Some(first) = shown.first() else { return };
    page.blank();
    page.line(&format!("{title}:"), if first.counts() { verdict_style(first.verdict) } else { BOLD });
    let speed = |finding: &Finding| match finding.verdict {
        Verdict::Bounded => settled_in_words(finding).unwrap_or_default(),
        _ => finding.rate_bytes_per_second.map_or_else(String::new, |rate| units::rate(rate.estimate)),
    };
    let width = shown.iter().map(|finding| speed(finding).chars().count()).max().unwrap_or(0);
    for finding in shown {
        let bound = finding.evidence.first().filter(|_| is_settled(finding));
        let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
        let gap = if width > 0 { "  " } else { "" };
        let start = format!("{:>12}  {:<width$}{gap}", units::bytes(finding.live.bytes), speed(finding));
        page.row(&start, &label, Style::new());
        if let Some(bound) = bound {
            page.wrapped("              ", &bound.text, DIM);
        }
    }
    let hidden = findings.len() - shown.len();
    if hidden > 0 && first.verdict != Verdict::Bounded {
        page.line(&format!("{:>12}  and {hidden} more", "…"), DIM);
    }
}

fn one_finding(page: &mut Page, number: usize, finding: &Finding) {
    let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
    let style = verdict_style(finding.verdict);
    page.row(&format!("{number:>2}. {:<13}", verdict_in_words(finding.verdict)), &label, style);
    fields(page, finding);
}

fn fields(page: &mut Page, finding: &Finding) {
    page.field("rate", &rate_in_words(finding).unwrap_or_else(|| "no rate".to_owned()));
    if let Some(turn) = finding.per_iteration {
        page.field("", &per_turn_in_words(turn));
    }
    let mut cause = finding.cause.in_words().to_owned();
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

fn stack(page: &mut Page, stack: &FoldedStack) {
    for (place, line) in shown_lines(stack).iter().enumerate() {
        let name = if place == 0 { "stack" } else { "" };
        match line {
            StackLine::Frame(label) => page.row(&field_start(name), label, Style::new()),
            StackLine::Skipped(text) => page.field(name, &format!("… {text}")),
        }
    }
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
        Verdict::Leaking if report.findings(Verdict::Leaking).next().is_none() => {
            page.line("next: after the fix, run this again", Style::new());
        }
        Verdict::Leaking => page.line("next: look at site 1 first; after the fix, run this again", Style::new()),
        Verdict::Inconclusive if report.run.as_ref().is_none_or(|run| run.recorded) => {
            page.line("next: record for longer, or take snapshots more often, and check again", Style::new());
        }
        Verdict::Inconclusive => {}
        Verdict::Bounded if report.is_run_unrecorded() => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::made_up;

    #[test]
    fn the_page_holds_answer_evidence_and_advice() {
        let text = check(&made_up::report(), Look { columns: None, colour: false });
        assert_eq!(
            text,
            "\
leaking: 1 site, 922 KiB/s: shop::cache::Cache::remember [requests] (src/cache.rs:31), unbounded cache; not counted: 1 accepted, 1 known from the baseline

shop, pid 4711 on web-1: 1 snapshot, sampled, one allocation per 512 KiB; live 3.00 KiB in 20
blocks; resident 40.0 MiB
reaches 512 MiB in 3 h 10 min (2 h 40 min to 4 h)

 1. leaking      shop::cache::Cache::remember [requests]  src/cache.rs:31
    rate      922 KiB/s, 3.16 GiB/h (95 %: 870 to 973 KiB/s)
              per loop turn +1.000 blocks, +184 B (±2 %)
    cause     unbounded cache, allocated by alloc::vec::Vec::push
    live      54.0 MiB in 54,000 blocks of 16 B to 4.00 KiB; grew by 53.1 MiB and 53,100 blocks
    evidence  blocks born in 58 of 60 generations are still live | none is older than the cache's
              limit, since there is none
    stack     shop::cache::Cache::remember  src/cache.rs:31
              tokio::task::poll_1  tokio-1.54.1/src/task.rs:1
              … 2 in tokio
              shop::main  src/main.rs:12
    threads   worker-1, worker-2
    do        Bound the map: an LRU, a time to live, or remove entries.

not clear yet:
    54.0 MiB  shop::feed::poll  shop/src/feed.rs:5

known from the baseline, and not counted:
    54.0 MiB  2.00 KiB/s  shop::log::append [requests]  src/log.rs:7

accepted, and not counted:
    54.0 MiB  shop::words::intern [requests]  src/words.rs:3

bounded, the largest:
    54.0 MiB  settled after 12.0 s  shop::pool::connect  src/pool.rs:71

note: 2 stacks ended early at code without unwind information

1 finding accepted by leak:intern, 54.0 MiB live

next: see it grow with `leakcheck plot soak -o heap.png`
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [60, 80, 132] {
            let text = check(&made_up::report(), Look { columns: Some(columns), colour: false });
            for line in text.lines().skip(1) {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let plain = check(&made_up::report(), Look { columns: Some(80), colour: false });
        let colourful = check(&made_up::report(), Look { columns: Some(80), colour: true });
        assert!(colourful.starts_with("\u{1b}[1m\u{1b}[31mleaking\u{1b}[0m"), "{colourful:?}");
        let mut stripped = String::new();
        let mut rest = colourful.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            stripped.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        assert_eq!(stripped + rest, plain);
    }
}
