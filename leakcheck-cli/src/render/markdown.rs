//! Reports as Markdown, for a comment on a change or a page.

use super::headline::{headline_of_check, headline_of_diff, verdict_in_words};
use super::site_label::SiteLabel;
use super::stack_lines::{StackLine, shown_lines};
use super::standing::{
    MEND_RESTARTS, accepted, accepted_in_words, is_settled, limit_in_words, per_turn_in_words, rate_in_words,
    resident_in_words, resource_in_words, restarts_in_words, self_test_in_words, settled_in_words,
};
use super::text::{
    ADD_THE_RECORDER, DIFFERENT_MODES, DIFFERENT_RECORDINGS, change_counts, change_in_words, evidence_in_words,
    live_in_words,
};
use super::{CheckReport, DiffReport, Judged, program_name};
use crate::units;
use leakcheck::analysis::{Finding, SiteChange, Standing, Verdict};
use leakcheck::model::FoldedStack;
use std::fmt::Write;

/// The report of `check` and `run`.
pub(crate) fn check(report: &CheckReport) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "**{}**", escaped(&headline_of_check(report)));
    if let Some(restarts) = &report.restarts {
        if report.findings(Verdict::Leaking).next().is_some() {
            let _ = writeln!(out, "\n{}", escaped(&restarts_in_words(restarts, &report.processes)));
        }
        let _ = writeln!(out, "\n**Do:** {}", escaped(MEND_RESTARTS));
    }
    for peers in &report.peers {
        let _ = writeln!(out, "\n{}", escaped(&peers.text));
    }
    for judged in &report.processes {
        process(&mut out, judged, report.top, report.processes.len() > 1);
    }
    for (place, one) in accepted(report).iter().enumerate() {
        let _ = writeln!(out, "{}- {}", if place == 0 { "\n" } else { "" }, escaped(&accepted_in_words(one)));
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

fn process(out: &mut String, judged: &Judged, top: usize, with_verdict: bool) {
    let (series, judgement) = (&judged.series, &judged.judgement);
    let verdict = if with_verdict { format!("{}: ", verdict_in_words(judgement.verdict)) } else { String::new() };
    let more = judgement.more_ms.filter(|_| with_verdict);
    let more = more.map_or_else(String::new, |ms| format!("; run about {} longer to know", units::duration(ms)));
    let _ = writeln!(
        out,
        "\n{verdict}{}, pid {}: {}{more}",
        code(program_name(&series.process)),
        series.process.pid,
        judged.data_in_words()
    );
    if let Some(limit) = judgement.time_to_limit {
        let _ = writeln!(out, "\n**{}**", limit_in_words(limit));
    }
    let (counting, excused): (Vec<&Finding>, Vec<&Finding>) =
        judgement.findings.iter().filter(|f| f.verdict != Verdict::Bounded).partition(|finding| finding.counts());
    let shown: Vec<&Finding> = counting.iter().chain(&excused).take(top).copied().collect();
    table(out, &shown);
    let hidden = (counting.len() + excused.len()).saturating_sub(top);
    if hidden > 0 {
        let _ = writeln!(out, "\n… and {hidden} more.");
    }
    // Those that decide the verdict are told in full, folded.
    let told = shown.iter().enumerate().filter(|(_, finding)| finding.counts());
    for (place, finding) in told.filter(|(_, finding)| finding.verdict == judgement.verdict) {
        one_finding(out, place + 1, finding);
    }
    bounded(out, judged, top);
    for (place, one) in judged.resources().enumerate() {
        let start = if place == 0 { "\n" } else { "" };
        let _ = writeln!(out, "{start}- {}: {}", verdict_in_words(one.verdict), escaped(&resource_in_words(one)));
        if one.verdict != Verdict::Bounded && one.counts() {
            let _ = writeln!(out, "  - **Do:** {}", escaped(&one.advice));
        }
    }
    let resident = judgement.resident.as_ref().map(resident_in_words);
    let self_test = judged.self_test.map(self_test_in_words);
    for told in resident.iter().chain(&self_test) {
        let _ = writeln!(out, "\n{}", escaped(told));
    }
    if !judgement.notes.is_empty() {
        let _ = writeln!(out);
    }
    for note in &judgement.notes {
        let _ = writeln!(out, "> {}", escaped(note));
    }
}

fn table(out: &mut String, findings: &[&Finding]) {
    if !findings.is_empty() {
        let _ = writeln!(out, "\n| # | verdict | site | rate | live | cause |\n|--:|---|---|--:|--:|---|");
    }
    for (place, finding) in findings.iter().enumerate() {
        let excuse = match (&finding.accepted, finding.standing) {
            (Some(_), _) => ", accepted",
            (None, Some(Standing::Known)) => ", known",
            (None, Some(Standing::New)) => ", new",
            (None, Some(Standing::Faster)) => ", faster than known",
            (None, Some(Standing::Settled) | None) => "",
        };
        let _ = writeln!(
            out,
            "| {} | {}{excuse} | {} | {} | {} | {} |",
            place + 1,
            verdict_in_words(finding.verdict),
            site_cell(&finding.stack, finding.scope.as_deref()),
            finding.rate_bytes_per_second.map_or_else(String::new, |rate| units::rate(rate.estimate)),
            units::bytes(finding.live.bytes),
            finding.cause.in_words()
        );
    }
}

fn one_finding(out: &mut String, number: usize, finding: &Finding) {
    let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
    let name = label.name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "\n<details><summary>{number}. <code>{name}</code></summary>\n");
    if let Some(rate) = rate_in_words(finding) {
        let _ = writeln!(out, "- rate: {rate}");
    }
    if let Some(turn) = finding.per_iteration {
        let _ = writeln!(out, "- {}", per_turn_in_words(turn));
    }
    let _ = writeln!(out, "- live: {}", live_in_words(finding));
    for evidence in finding.evidence.iter().filter(|evidence| !evidence.text.is_empty()) {
        let _ = writeln!(out, "- {}", escaped(&evidence.text));
    }
    if let Some(ms) = finding.more_ms {
        let _ = writeln!(out, "- to know: run about {} longer", units::duration(ms));
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
    let _ = writeln!(out, "\n</details>");
}

/// The largest bounded sites, folded, a line each.
fn bounded(out: &mut String, judged: &Judged, top: usize) {
    let bounded = judged.judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Bounded);
    let lines: Vec<String> = bounded
        .take(top)
        .map(|finding| {
            let why = match finding.evidence.first().filter(|_| is_settled(finding)) {
                Some(evidence) => format!(", {}", escaped(&evidence.text)),
                None => settled_in_words(finding).map_or_else(String::new, |settled| format!(", {settled}")),
            };
            let site = site_span(&finding.stack, finding.scope.as_deref());
            format!("- {site}: {}{why}", units::bytes(finding.live.bytes))
        })
        .collect();
    if !lines.is_empty() {
        let _ =
            writeln!(out, "\n<details><summary>bounded, the largest</summary>\n\n{}\n\n</details>", lines.join("\n"));
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
    if report.resident_alone().is_some() {
        let _ = writeln!(out, "\n> Note: {ADD_THE_RECORDER}.");
        return out;
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
        let _ = writeln!(out, "{start}- {}: {}", site_span(&site.stack, site.scope.as_deref()), escaped(text));
    }
}

/// In a row of a table, where a bar would end the cell, also inside a code span.
fn site_cell(stack: &FoldedStack, scope: Option<&str>) -> String {
    site_span(stack, scope).replace('|', "\\|").replace("\\\\|", "\\|")
}

fn site_span(stack: &FoldedStack, scope: Option<&str>) -> String {
    let label = SiteLabel::of_site(stack, scope);
    let name = code(&label.name);
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
**leaking: 1 site, 922 KiB/s: shop::cache::Cache::remember \\[requests\\] (src/cache.rs:31), unbounded cache; not counted: 1 accepted, 1 known from the baseline**

`shop`, pid 4711: 1 snapshot, sampled, one allocation per 512 KiB

**reaches 512 MiB in 3 h 10 min (2 h 40 min to 4 h)**

| # | verdict | site | rate | live | cause |
|--:|---|---|--:|--:|---|
| 1 | leaking | `shop::cache::Cache::remember [requests]` src/cache.rs:31 | 922 KiB/s | 54.0 MiB | unbounded cache |
| 2 | inconclusive, new | `shop::feed::poll` shop/src/feed.rs:5 |  | 54.0 MiB | unknown |
| 3 | leaking, known | `shop::log::append [requests]` src/log.rs:7 | 2.00 KiB/s | 54.0 MiB | unknown |
| 4 | leaking, accepted | `shop::words::intern [requests]` src/words.rs:3 |  | 54.0 MiB | unknown |

<details><summary>1. <code>shop::cache::Cache::remember [requests]</code></summary>

- rate: 922 KiB/s, 3.16 GiB/h (95 %: 870 to 973 KiB/s)
- per loop turn +1.000 blocks, +184 B (±2 %)
- live: 54.0 MiB in 54,000 blocks of 16 B to 4.00 KiB; grew by 53.1 MiB and 53,100 blocks
- blocks born in 58 of 60 generations are still live \\| none is older than the cache's limit, since there is none
- **Do:** Bound the map: an LRU, a time to live, or remove entries.

```text
shop::cache::Cache::remember (src/cache.rs:31)
tokio::task::poll_1 (tokio-1.54.1/src/task.rs:1)
… 2 in tokio
shop::main (src/main.rs:12)
```

</details>

<details><summary>bounded, the largest</summary>

- `shop::pool::connect` src/pool.rs:71: 54.0 MiB, settled after 12.0 s

</details>

> 2 stacks ended early at code without unwind information

- 1 finding accepted by leak:intern, 54.0 MiB live
"
        );
    }
}
