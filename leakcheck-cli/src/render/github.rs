//! Reports as workflow commands of GitHub Actions: an annotation at each line that leaks, and a summary. GitHub shows few
//! annotations of a step, so there is one for each of the first sites alone.

use super::headline::headline_of_check;
use super::site_label::SiteLabel;
use super::source_place::SourcePlace;
use super::standing::{
    MEND_RESTARTS, accepted, accepted_in_words, limit_in_words, program_of, rate_in_words, resident_in_words,
    resource_in_words, restarts_in_words, self_test_in_words, too_little_in_words,
};
use super::text::live_in_words;
use super::{CheckReport, Judged, program_name};
use crate::units;
use leakcheck::analysis::{Finding, Verdict};
use std::path::Path;

/// The report of `check` and `run`.
pub(crate) fn check(report: &CheckReport, here: &Path) -> String {
    let mut out = String::new();
    if let Some(restarts) = &report.restarts {
        let title = format!("restarts of {} hide a leak", program_of(restarts, &report.processes));
        let text = format!("{}\n{MEND_RESTARTS}", restarts_in_words(restarts, &report.processes));
        command(&mut out, "error", &[("title", &title)], &text);
    }
    for judged in &report.processes {
        process(&mut out, judged, report.top, here);
    }
    let mut summary = vec![headline_of_check(report)];
    summary.extend(accepted(report).iter().map(accepted_in_words));
    let limits = report.processes.iter().filter_map(|judged| judged.judgement.time_to_limit);
    summary.extend(limits.map(limit_in_words));
    summary.extend(report.peers.iter().map(|peers| peers.text.clone()));
    command(&mut out, "notice", &[("title", "leakcheck")], &summary.join("\n"));
    out
}

fn process(out: &mut String, judged: &Judged, top: usize, here: &Path) {
    let open =
        judged.judgement.findings.iter().filter(|finding| finding.verdict != Verdict::Bounded && finding.counts());
    for finding in open.take(top) {
        one_finding(out, finding, here);
    }
    for one in judged.resources().filter(|one| one.verdict != Verdict::Bounded && one.counts()) {
        let (level, verb) = match one.verdict {
            Verdict::Leaking => ("error", "leak"),
            Verdict::Inconclusive | Verdict::Bounded if judged.is_recorded() => ("notice", "may leak"),
            Verdict::Inconclusive | Verdict::Bounded => ("warning", "may leak"),
        };
        let process = &judged.series.process;
        let title = format!("{verb}: {} of {}", one.resource.in_words(), program_name(process));
        let text = format!("pid {}: {}\ndo: {}", process.pid, resource_in_words(one), one.advice);
        command(out, level, &[("title", &title)], &text);
    }
    let (title, mut notes) = ([("title", "leakcheck: about the data")], judged.judgement.notes.as_slice());
    let is_too_short = judged.judgement.resources.is_empty() && !judged.judgement.findings.iter().any(Finding::counts);
    if judged.judgement.verdict == Verdict::Inconclusive && is_too_short {
        command(
            out,
            "warning",
            &title,
            &format!("{}: {}", program_name(&judged.series.process), too_little_in_words(judged)),
        );
        notes = notes.get(1..).unwrap_or_default();
    }
    if let Some(growth) = &judged.judgement.resident {
        command(out, "notice", &[("title", "resident memory grows, not the heap")], &resident_in_words(growth));
    }
    if let Some(test) = judged.self_test {
        let level = if test.passed { "notice" } else { "error" };
        command(out, level, &[("title", "leakcheck: self-test")], &self_test_in_words(test));
    }
    for note in notes {
        command(out, "notice", &title, note);
    }
}

fn one_finding(out: &mut String, finding: &Finding, here: &Path) {
    let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
    let (level, title) = match finding.verdict {
        Verdict::Leaking => ("error", format!("leak: {}", label.name)),
        Verdict::Inconclusive | Verdict::Bounded => ("warning", format!("may leak: {}", label.name)),
    };
    let place = SourcePlace::of_stack(&finding.stack, here);
    let line = place.as_ref().and_then(|place| place.line).map(|line| line.to_string());
    let mut properties = Vec::new();
    if let Some(place) = &place {
        properties.push(("file", place.file.as_str()));
    }
    if let Some(line) = &line {
        properties.push(("line", line));
    }
    properties.push(("title", &title));
    command(out, level, &properties, &in_lines(finding));
}

fn in_lines(finding: &Finding) -> String {
    let mut lines: Vec<String> = rate_in_words(finding).into_iter().collect();
    lines.push(format!("cause: {}", finding.cause.in_words()));
    lines.push(format!("live: {}", live_in_words(finding)));
    lines.extend(finding.evidence.iter().map(|one| one.text.clone()).find(|text| !text.is_empty()));
    lines.extend(finding.more_ms.map(|ms| format!("run about {} longer to know", units::duration(ms))));
    lines.extend(Some(&finding.advice).filter(|advice| !advice.is_empty()).map(|advice| format!("do: {advice}")));
    lines.join("\n")
}

/// `::error file=src/cache.rs,line=31,title=…::…`
fn command(out: &mut String, name: &str, properties: &[(&str, &str)], text: &str) {
    out.push_str("::");
    out.push_str(name);
    for (place, (key, value)) in properties.iter().enumerate() {
        out.push(if place == 0 { ' ' } else { ',' });
        out.push_str(key);
        out.push('=');
        out.push_str(&escaped(value).replace(':', "%3A").replace(',', "%2C"));
    }
    out.push_str("::");
    out.push_str(&escaped(text));
    out.push('\n');
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_or_a_property_is_escaped() {
        let mut out = String::new();
        command(&mut out, "error", &[("file", "a,b:c.rs"), ("title", "50%\n")], "95 %: x, y\r\nz");
        assert_eq!(out, "::error file=a%2Cb%3Ac.rs,title=50%25%0A::95 %25: x, y%0D%0Az\n");
    }

    #[test]
    fn each_site_that_counts_is_annotated_at_its_line() {
        let said = check(&crate::render::made_up::report(), Path::new("/home/me"));
        let lines: Vec<&str> = said.lines().collect();
        let starts = [
            "::error file=src/cache.rs,line=31,title=leak%3A shop%3A%3Acache%3A%3ACache%3A%3Aremember [requests]::922 KiB/s, ",
            "::warning file=shop/src/feed.rs,line=5,title=may leak%3A shop%3A%3Afeed%3A%3Apoll::cause: unknown%0A",
            "::notice title=leakcheck%3A about the data::2 stacks ended early",
            "::notice title=leakcheck::leaking: 1 site, 922 KiB/s: ",
        ];
        assert_eq!(lines.len(), starts.len(), "{said}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
        assert!(lines[3].ends_with(
            "; not counted: 1 accepted, 1 known from the baseline%0A1 finding accepted by leak:intern, 54.0 MiB live%0A\
             reaches 512 MiB in 3 h 10 min (2 h 40 min to 4 h)"
        ));
    }
}
