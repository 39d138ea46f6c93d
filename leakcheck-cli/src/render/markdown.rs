//! Reports as Markdown, for a comment on a change or a page.

use super::headline::{cause_in_words, headline_of_check, headline_of_diff, verdict_in_words};
use super::site_label::SiteLabel;
use super::stack_lines::{StackLine, shown_lines};
use super::text::{
    ADD_THE_RECORDER, DIFFERENT_MODES, DIFFERENT_RECORDINGS, change_counts, change_in_words, evidence_in_words,
    live_in_words,
};
use super::{CheckReport, DiffReport, Judged, program_name};
use crate::units;
use leakcheck::analysis::{Finding, SiteChange, Verdict};
use leakcheck::model::FoldedStack;
use std::fmt::Write;

/// The report of `check` and `run`.
pub(crate) fn check(report: &CheckReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "**{}**", escaped(&headline_of_check(report)));
    for judged in &report.processes {
        process(&mut out, judged, report.top);
    }
    if let Some(run) = &report.run {
        let _ = writeln!(out);
        if let Some(chart) = &run.chart {
            let _ = writeln!(out, "Heap over time: {}", code(&chart.display().to_string()));
        }
        if !run.recorded {
            let _ = writeln!(out, "Next: {ADD_THE_RECORDER}.");
        }
    }
    out
}

fn process(out: &mut String, judged: &Judged, top: usize) {
    let series = &judged.series;
    let _ = writeln!(
        out,
        "\n{}, pid {}: {}",
        code(program_name(&series.process)),
        series.process.pid,
        judged.data_in_words()
    );
    let findings: Vec<&Finding> = judged.judgement.findings.iter().filter(|f| f.verdict != Verdict::Bounded).collect();
    if !findings.is_empty() {
        let _ = writeln!(out, "\n| # | verdict | site | rate | live | cause |\n|--:|---|---|--:|--:|---|");
    }
    for (place, finding) in findings.iter().take(top).enumerate() {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            place + 1,
            verdict_in_words(finding.verdict),
            site_cell(&finding.stack, finding.scope.as_deref()),
            finding.rate_bytes_per_second.map_or_else(String::new, |rate| units::rate(rate.estimate)),
            units::bytes(finding.live.bytes),
            cause_in_words(finding.cause)
        );
    }
    // Those that decide the verdict are told in full.
    let told = findings.iter().take(top).enumerate();
    for (place, finding) in told.filter(|(_, finding)| finding.verdict == findings[0].verdict) {
        one_finding(out, place + 1, finding);
    }
    let hidden = findings.len().saturating_sub(top);
    if hidden > 0 {
        let _ = writeln!(out, "\n… and {hidden} more.");
    }
    if !judged.judgement.notes.is_empty() {
        let _ = writeln!(out);
    }
    for note in &judged.judgement.notes {
        let _ = writeln!(out, "> {}", escaped(note));
    }
}

fn one_finding(out: &mut String, number: usize, finding: &Finding) {
    let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
    let _ = writeln!(out, "\n### {number}. {}\n", code(&label.name));
    if let Some(rate) = finding.rate_bytes_per_second {
        let interval = units::rate_interval(rate.estimate, rate.low, rate.high);
        let _ = writeln!(out, "- rate: {} (95 %: {interval})", units::rate(rate.estimate));
    }
    let _ = writeln!(out, "- live: {}", live_in_words(finding));
    for evidence in finding.evidence.iter().filter(|evidence| !evidence.text.is_empty()) {
        let _ = writeln!(out, "- {}", escaped(&evidence.text));
    }
    if !finding.advice.is_empty() {
        let _ = writeln!(out, "- **Do:** {}", escaped(&finding.advice));
    }
    if !finding.stack.frames.is_empty() {
        let _ = writeln!(out, "\n```text");
        for line in shown_lines(&finding.stack) {
            let line = match line {
                StackLine::Frame(label) => label.in_words(),
                StackLine::Skipped(text) => format!("… {text}"),
            };
            let _ = writeln!(out, "{}", line.replace("```", "'''"));
        }
        let _ = writeln!(out, "```");
    }
}

/// The report of `diff`.
pub(crate) fn diff(report: &DiffReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "**{}**\n", escaped(&headline_of_diff(report)));
    for (name, facts) in [("Baseline", &report.baseline), ("Current", &report.current)] {
        let _ = writeln!(
            out,
            "- {name}: {}, {}, pid {}, snapshot {}",
            code(&facts.path.display().to_string()),
            code(program_name(&facts.process)),
            facts.process.pid,
            facts.sequence
        );
    }
    if !report.diff.same_recording {
        let _ = writeln!(out, "\n> Note: {DIFFERENT_RECORDINGS}.");
    }
    if report.baseline.recording.mode != report.current.recording.mode {
        let _ = writeln!(out, "\n> Note: {DIFFERENT_MODES}.");
    }
    if !report.diff.sites.is_empty() {
        let _ = writeln!(out, "\n| growth | blocks | percent | live | site |\n|--:|--:|--:|--:|---|");
    }
    for site in report.diff.sites.iter().take(report.top) {
        change(&mut out, site);
    }
    let hidden = report.diff.sites.len().saturating_sub(report.top);
    if hidden > 0 {
        let _ = writeln!(out, "\n… and {hidden} more.");
    }
    evidence(&mut out, &report.diff.sites[..report.top.min(report.diff.sites.len())]);
    let _ = writeln!(out, "\n{}", change_counts(&report.diff.sites));
    out
}

fn change(out: &mut String, site: &SiteChange) {
    let _ = writeln!(
        out,
        "| {} | {} | {} | {} | {} |",
        units::signed_bytes(site.growth_bytes()),
        units::signed_count(site.growth_blocks()),
        change_in_words(site),
        units::bytes(site.live_after().bytes),
        site_cell(&site.stack, site.scope.as_deref())
    );
}

/// What is known of the largest ones beyond their growth.
fn evidence(out: &mut String, sites: &[SiteChange]) {
    const MOST: usize = 5;
    let told = sites.iter().filter_map(|site| Some((site, evidence_in_words(site)?))).take(MOST);
    for (place, (site, text)) in told.enumerate() {
        let start = if place == 0 { "\n" } else { "" };
        let _ = writeln!(out, "{start}- {}: {}", site_cell(&site.stack, site.scope.as_deref()), escaped(text));
    }
}

fn site_cell(stack: &FoldedStack, scope: Option<&str>) -> String {
    let label = SiteLabel::of_site(stack, scope);
    let name = code(&label.name).replace('|', "\\|");
    if label.place.is_empty() { name } else { format!("{name} {}", escaped(&label.place)) }
}

/// A code span that holds whatever the text is.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text, '`') + 1);
    if fence.len() == 1 { format!("`{text}`") } else { format!("{fence} {text} {fence}") }
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(|run| run.chars().count()).max().unwrap_or(0)
}

/// Text that Markdown takes as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '|' | '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_held() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b``c"), "``` a`b``c ```");
        assert_eq!(escaped("a<b>|c_d"), "a\\<b\\>\\|c\\_d");
    }

    #[test]
    fn the_page_holds_answer_evidence_and_advice() {
        assert_eq!(
            check(&crate::render::made_up::report()),
            "\
**leaking: 1 site, 922 KiB/s: shop::cache::Cache::remember \\[requests\\] (src/cache.rs:31), unbounded cache**

`shop`, pid 4711: 1 snapshot, sampled, one allocation per 512 KiB

| # | verdict | site | rate | live | cause |
|--:|---|---|--:|--:|---|
| 1 | leaking | `shop::cache::Cache::remember [requests]` src/cache.rs:31 | 922 KiB/s | 54.0 MiB | unbounded cache |
| 2 | inconclusive | `shop::feed::poll` shop/src/feed.rs:5 |  | 54.0 MiB | unknown |

### 1. `shop::cache::Cache::remember [requests]`

- rate: 922 KiB/s (95 %: 870 to 973 KiB/s)
- live: 54.0 MiB in 54,000 blocks of 16 B to 4.00 KiB; grew by 53.1 MiB and 53,100 blocks
- blocks born in 58 of 60 generations are still live \\| none is older than the cache's limit, since there is none
- **Do:** Bound the map: an LRU, a time to live, or remove entries.

```text
shop::cache::Cache::remember (src/cache.rs:31)
tokio::task::poll_1 (tokio-1.54.1/src/task.rs:1)
… 2 in tokio
shop::main (src/main.rs:12)
```

> 2 stacks ended early at code without unwind information
"
        );
    }
}
