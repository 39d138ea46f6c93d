//! Reports as JUnit XML, as CI servers show tests: one suite per process, one case per site that leaks, may leak or is
//! excused, and one for the process when nothing leaks. Says what `check` says and no times of single cases.

use super::site_label::SiteLabel;
use super::standing::{
    MEND_RESTARTS, is_known, program_of, resident_in_words, resource_in_words, restarts_in_words, self_test_in_words,
    too_little_in_words,
};
use super::text::finding_in_full;
use super::{CheckReport, Judged, program_name, span_ms};
use crate::units;
use leakcheck::analysis::{Finding, Peers, ResourceFinding, Restarts, Verdict};
use std::collections::HashMap;
use std::fmt::Write;

/// How a case ended.
enum Outcome {
    Passed,
    /// Why it says nothing.
    Skipped(String),
    /// In a line, and in full.
    Failed(String, String),
}

struct Case {
    name: String,
    outcome: Outcome,
}

struct Suite {
    name: String,
    host: String,
    span_ms: u64,
    cases: Vec<Case>,
    /// What a reader must know beside.
    notes: String,
}

/// The report of `check` and `run`: all sites, whatever `--top` says.
pub(crate) fn check(report: &CheckReport) -> String {
    let mut suites: Vec<Suite> = report.processes.iter().map(|judged| suite(judged, report)).collect();
    suites.extend(report.restarts.as_ref().map(|restarts| suite_of_restarts(restarts, report)));
    let cases = || suites.iter().flat_map(|suite| &suite.cases);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"leakcheck\" {}>", counts(cases()));
    for suite in &suites {
        write_suite(&mut out, suite);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(judged: &Judged, report: &CheckReport) -> Suite {
    let process = &judged.series.process;
    let alone =
        report.processes.iter().filter(|one| program_name(&one.series.process) == program_name(process)).count();
    // A server follows a test by its name, so that it must not hold what differs from run to run unless it has to.
    let name = match alone {
        1 => program_name(process).to_owned(),
        _ => format!("{} pid {}", program_name(process), process.pid),
    };
    let open = judged.judgement.findings.iter().filter(|finding| finding.verdict != Verdict::Bounded);
    let mut cases: Vec<Case> = open.map(|finding| case(finding, report.inconclusive_fails)).collect();
    cases.extend(judged.resources().map(|one| resource_case(one, !judged.is_recorded(), report.inconclusive_fails)));
    number_the_same(&mut cases);
    let whole = "nothing leaks".to_owned();
    match judged.judgement.verdict {
        Verdict::Bounded => cases.push(Case { name: whole, outcome: Outcome::Passed }),
        Verdict::Inconclusive
            if !judged.judgement.findings.iter().any(Finding::counts) && judged.judgement.resources.is_empty() =>
        {
            let text = too_little_in_words(judged);
            cases.push(Case { name: whole, outcome: unknown(text.clone(), text, report.inconclusive_fails) });
        }
        Verdict::Inconclusive | Verdict::Leaking => {}
    }
    cases.extend(judged.self_test.map(|test| {
        let text = self_test_in_words(test);
        let outcome = if test.passed { Outcome::Passed } else { Outcome::Failed(text.clone(), text) };
        Case { name: "a planted leak is seen".to_owned(), outcome }
    }));
    let mut notes = judged.judgement.notes.clone();
    notes.extend(judged.judgement.resident.as_ref().map(resident_in_words));
    let own = |peers: &&Peers| {
        let place = report.processes.iter().position(|one| std::ptr::eq(one, judged));
        place.is_some_and(|place| peers.series.contains(&place))
    };
    notes.extend(report.peers.iter().filter(own).map(|peers| peers.text.clone()));
    let notes = notes.join("\n");
    Suite { name, host: process.host.clone(), span_ms: span_ms(&judged.series), cases, notes }
}

/// A figure of the kernel's. Beside recorded sites one that is open decides nothing.
fn resource_case(finding: &ResourceFinding, decides: bool, inconclusive_fails: bool) -> Case {
    let line = resource_in_words(finding);
    let text = format!("{line}\n{}", finding.advice);
    let outcome = match finding.verdict {
        _ if !finding.counts() => Outcome::Skipped(line),
        Verdict::Leaking => Outcome::Failed(format!("leaking: {line}"), text),
        Verdict::Inconclusive => unknown(format!("inconclusive: {line}"), text, inconclusive_fails && decides),
        Verdict::Bounded => Outcome::Passed,
    };
    Case { name: finding.resource.in_words().to_owned(), outcome }
}

fn suite_of_restarts(restarts: &Restarts, report: &CheckReport) -> Suite {
    let text = format!("{}\n{MEND_RESTARTS}", restarts.text);
    let outcome = Outcome::Failed(restarts_in_words(restarts, &report.processes), text);
    let name = format!("restarts of {}", program_of(restarts, &report.processes));
    let cases = vec![Case { name: "restarts hide no leak".to_owned(), outcome }];
    Suite { name, host: String::new(), span_ms: 0, cases, notes: String::new() }
}

fn case(finding: &Finding, inconclusive_fails: bool) -> Case {
    let name = SiteLabel::of_site(&finding.stack, finding.scope.as_deref()).in_words();
    let rate =
        finding.rate_bytes_per_second.map_or_else(String::new, |rate| format!("{}, ", units::rate(rate.estimate)));
    let cause = finding.cause.in_words();
    let outcome = match (&finding.accepted, finding.verdict) {
        (Some(pattern), _) => Outcome::Skipped(format!("accepted by {pattern}: {rate}{cause}")),
        (None, _) if is_known(finding) => Outcome::Skipped(format!("known from the baseline: {rate}{cause}")),
        (None, Verdict::Leaking) => Outcome::Failed(format!("leaking: {rate}{cause}"), finding_in_full(finding)),
        (None, _) => {
            let more =
                finding.more_ms.map_or_else(String::new, |ms| format!("; run about {} longer", units::duration(ms)));
            unknown(format!("inconclusive: {rate}{cause}{more}"), finding_in_full(finding), inconclusive_fails)
        }
    };
    Case { name, outcome }
}

/// Sites of one line by way of different callers: servers take cases of one name for one.
fn number_the_same(cases: &mut [Case]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for case in cases {
        let number = seen.entry(case.name.clone()).or_insert(0);
        *number += 1;
        if *number > 1 {
            let _ = write!(case.name, ", {number}");
        }
    }
}

fn unknown(line: String, text: String, fails: bool) -> Outcome {
    if fails { Outcome::Failed(line, text) } else { Outcome::Skipped(line) }
}

fn counts<'a>(cases: impl Iterator<Item = &'a Case>) -> String {
    let (mut tests, mut failures, mut skipped) = (0, 0, 0);
    for case in cases {
        tests += 1;
        failures += usize::from(matches!(case.outcome, Outcome::Failed(..)));
        skipped += usize::from(matches!(case.outcome, Outcome::Skipped(_)));
    }
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"")
}

fn write_suite(out: &mut String, suite: &Suite) {
    let (name, host, seconds) = (attribute(&suite.name), attribute(&suite.host), suite.span_ms as f64 / 1000.0);
    let _ = write!(out, "  <testsuite name=\"{name}\" {}", counts(suite.cases.iter()));
    let _ = writeln!(out, " hostname=\"{host}\" time=\"{seconds:.3}\">");
    for case in &suite.cases {
        let _ = write!(out, "    <testcase classname=\"{name}\" name=\"{}\"", attribute(&case.name));
        let _ = match &case.outcome {
            Outcome::Passed => writeln!(out, "/>"),
            Outcome::Skipped(line) => {
                writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", attribute(line))
            }
            Outcome::Failed(line, text) => writeln!(
                out,
                ">\n      <failure type=\"leak\" message=\"{}\">{}</failure>\n    </testcase>",
                attribute(line),
                escaped(text)
            ),
        };
    }
    if !suite.notes.is_empty() {
        let _ = writeln!(out, "    <system-out>{}</system-out>", escaped(&suite.notes));
    }
    out.push_str("  </testsuite>\n");
}

/// Text as XML 1.0 can hold it: other control characters have no form there at all.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The same for an attribute, in which a parser makes spaces of line ends.
fn attribute(text: &str) -> String {
    escaped(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_held() {
        assert_eq!(escaped("a<B>&\"c\"\n\u{1b}[\u{ffff}"), "a&lt;B&gt;&amp;&quot;c&quot;\n\u{fffd}[\u{fffd}");
        assert_eq!(attribute("a\n\t\"\r"), "a&#10;&#9;&quot;\u{fffd}");
    }

    #[test]
    fn cases_of_one_name_are_numbered() {
        let mut cases: Vec<Case> =
            ["a", "b", "a", "a"].map(|name| Case { name: name.to_owned(), outcome: Outcome::Passed }).into();
        number_the_same(&mut cases);
        assert_eq!(cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["a", "b", "a, 2", "a, 3"]);
    }

    #[test]
    fn each_site_is_a_case_and_excuses_are_skips() {
        let mut report = crate::render::made_up::report();
        let said = check(&report);
        assert!(
            said.contains("<testsuites name=\"leakcheck\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"3\">"),
            "{said}"
        );
        for part in [
            "<testcase classname=\"shop\" name=\"shop::cache::Cache::remember [requests] (src/cache.rs:31)\">",
            "<failure type=\"leak\" message=\"leaking: 922 KiB/s, unbounded cache\">    rate      922 KiB/s, 3.16 GiB/h",
            "<skipped message=\"inconclusive: unknown; run about 40.0 s longer\"/>",
            "<skipped message=\"known from the baseline: 2.00 KiB/s, unknown\"/>",
            "<skipped message=\"accepted by leak:intern: unknown\"/>",
            "<system-out>2 stacks ended early",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        report.inconclusive_fails = true;
        assert!(check(&report).contains("failures=\"2\" errors=\"0\" skipped=\"2\""));
    }
}
