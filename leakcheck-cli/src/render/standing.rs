//! What does not count for the verdict and why, and what is known beside the sites: accepted leaks, leaks that the baseline
//! had as well, a limit that is coming near, restarts. In words, the same for every output.

use super::site_label::printable;
use super::{CheckReport, Judged, program_name};
use crate::units;
use leakcheck::analysis::{
    Finding, PerIteration, Rate, ResidentGrowth, ResidentPart, ResourceFinding, Restarts, SelfTest, Standing,
    TimeToLimit, Verdict,
};
use std::fmt::Write;

/// What one suppression accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted<'a> {
    /// `leak:pattern`
    pub(super) pattern: &'a str,
    pub(super) findings: u64,
    pub(super) live_bytes: u64,
}

/// What was accepted, by suppression, in order of appearance.
pub(super) fn accepted(report: &CheckReport) -> Vec<Accepted<'_>> {
    let mut all: Vec<Accepted<'_>> = Vec::new();
    for finding in report.all_findings() {
        let Some(pattern) = finding.accepted.as_deref() else { continue };
        let place = all.iter().position(|one| one.pattern == pattern).unwrap_or_else(|| {
            all.push(Accepted { pattern, findings: 0, live_bytes: 0 });
            all.len() - 1
        });
        all[place].findings += 1;
        all[place].live_bytes = all[place].live_bytes.saturating_add(finding.live.bytes);
    }
    all
}

/// `2 findings accepted by leak:QuoteCache, 280 KiB live`
pub(super) fn accepted_in_words(one: &Accepted<'_>) -> String {
    let findings = units::counted(one.findings, "finding");
    format!("{findings} accepted by {}, {} live", printable(one.pattern), units::bytes(one.live_bytes))
}

/// `; not counted: 2 accepted, 1 known from the baseline`, or nothing.
pub(super) fn aside_in_words(report: &CheckReport) -> String {
    let resources = || report.processes.iter().flat_map(|judged| &judged.judgement.resources);
    let accepted = report.all_findings().filter(|finding| finding.accepted.is_some()).count()
        + resources().filter(|one| one.accepted.is_some()).count();
    let known = report.all_findings().filter(|finding| is_known(finding)).count()
        + resources().filter(|one| one.standing == Some(Standing::Known) && one.accepted.is_none()).count();
    let mut parts = Vec::new();
    if accepted > 0 {
        parts.push(format!("{} accepted", units::count(accepted as u64)));
    }
    if known > 0 {
        parts.push(format!("{} known from the baseline", units::count(known as u64)));
    }
    if parts.is_empty() { String::new() } else { format!("; not counted: {}", parts.join(", ")) }
}

/// Whether the baseline leaks there as well, and nobody accepted it besides.
pub(super) fn is_known(finding: &Finding) -> bool {
    finding.standing == Some(Standing::Known) && finding.accepted.is_none()
}

/// Whether it is bounded because the baseline showed its bound.
pub(super) fn is_settled(finding: &Finding) -> bool {
    finding.standing == Some(Standing::Settled)
}

/// `settled after 12.0 s`: when a bounded site settled.
pub(super) fn settled_in_words(finding: &Finding) -> Option<String> {
    let settled_ms = finding.settled_ms.filter(|_| finding.verdict == Verdict::Bounded)?;
    Some(if settled_ms == 0 {
        "settled at once".to_owned()
    } else {
        format!("settled after {}", units::duration(settled_ms))
    })
}

/// `922 KiB/s, 3.16 GiB/h (95 %: 870 to 973 KiB/s)`
pub(super) fn rate_in_words(finding: &Finding) -> Option<String> {
    let rate = finding.rate_bytes_per_second?;
    let mut text = units::rate(rate.estimate);
    if let Some(by_the_hour) = units::rate_by_the_hour(rate) {
        let _ = write!(text, ", {by_the_hour}");
    }
    let _ = write!(text, " (95 %: {})", units::rate_interval(rate.estimate, rate.low, rate.high));
    Some(text)
}

/// `per loop turn +1.000 blocks, +184 B (±2 %)`
pub(super) fn per_turn_in_words(turn: PerIteration) -> String {
    let error = turn.relative_error * 100.0;
    format!("per loop turn {:+.3} blocks, {:+.0} B (±{error:.0} %)", turn.blocks, turn.bytes)
}

/// `reaches 512 MiB in 3 h 10 min (2 h 40 min to 4 h)`
pub(super) fn limit_in_words(limit: TimeToLimit) -> String {
    let size = units::bytes(limit.limit_bytes);
    if limit.ms == 0 {
        return format!("is at its limit of {size}");
    }
    let earliest = units::duration(limit.earliest_ms);
    let range = match limit.latest_ms {
        Some(latest) => format!("{earliest} to {}", units::duration(latest)),
        None => format!("{earliest} at the earliest"),
    };
    format!("reaches {size} in {} ({range})", units::duration(limit.ms))
}

/// What a planted leak showed, and which leaks the run can show.
pub(super) fn self_test_in_words(test: SelfTest) -> String {
    let rate = |per_s: f64| {
        let per_second = Rate { estimate: per_s, low: per_s, high: per_s };
        let by_the_hour = units::rate_by_the_hour(per_second).map_or_else(String::new, |text| format!(", {text}"));
        format!("{}{by_the_hour}", units::rate(per_s))
    };
    let planted = format!("a leak of {} planted in this series", rate(test.planted_bytes_per_second));
    let seen = format!("is seen in {} of {} tries", test.seen, test.tries);
    let least = match test.least_bytes_per_second {
        Some(least) => format!("steady leaks show from about {} on", rate(least)),
        None => "no leak would show: it is too short".to_owned(),
    };
    match test.passed {
        true => format!("self-test passed: {planted} {seen}; {least}"),
        false => {
            let more =
                test.more_ms.map_or_else(String::new, |ms| format!("; run about {} longer", units::duration(ms)));
            format!("self-test failed: {planted} {seen}, so that none was found proves nothing; {least}{more}")
        }
    }
}

/// A level of a figure: `23`, `40.0 MiB`.
pub(super) fn level_in_words(finding: &ResourceFinding, level: u64) -> String {
    if finding.resource.is_bytes() { units::bytes(level) } else { units::count(level) }
}

/// How fast a figure grows: `1.2/s`, `64.0 KiB/s`; by the hour where it is slow.
pub(super) fn pace_in_words(finding: &ResourceFinding, per_second: f64) -> String {
    match per_second {
        _ if finding.resource.is_bytes() => units::rate(per_second),
        0.1.. => format!("{per_second:.1}/s"),
        _ => format!("{:.1}/h", per_second * 3600.0),
    }
}

/// What a figure of the kernel's shows, in a sentence: with the excuse, and how much longer to run.
pub(super) fn resource_in_words(finding: &ResourceFinding) -> String {
    let mut text = finding.text.clone();
    match (&finding.accepted, finding.standing) {
        (Some(pattern), _) => {
            let _ = write!(text, "; accepted by {}", printable(pattern));
        }
        (None, Some(Standing::Known)) => text.push_str("; known from the baseline"),
        (None, Some(Standing::Faster)) => text.push_str("; faster than in the baseline"),
        _ => {}
    }
    if let (Some(limit), Some(ms)) = (finding.limit, finding.limit_ms) {
        let _ = write!(text, "; reaches its limit of {} in {}", level_in_words(finding, limit), units::duration(ms));
    }
    if let Some(ms) = finding.more_ms {
        let _ = write!(text, "; run about {} longer to know", units::duration(ms));
    }
    text
}

/// Memory that grows though no site does, and what to do about it.
pub(super) fn resident_in_words(growth: &ResidentGrowth) -> String {
    let known = growth.parts.iter().filter(|one| one.after_bytes != one.before_bytes);
    let parts: Vec<String> = known
        .map(|one| {
            let change = super::growth(one.before_bytes, one.after_bytes);
            format!("{} {}", part_in_words(one.part), units::signed_bytes(change))
        })
        .collect();
    let split = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("{}{split}; {}", growth.text, growth.advice)
}

const fn part_in_words(part: ResidentPart) -> &'static str {
    match part {
        ResidentPart::Live => "live blocks",
        ResidentPart::Recorder => "the recorder",
        ResidentPart::AllocatorRetention => "retained by the allocator",
        ResidentPart::UnrecordedBlocks => "blocks not recorded",
        ResidentPart::ThreadStacks => "thread stacks",
        ResidentPart::MappedFiles => "mapped files",
        ResidentPart::SharedMemory => "shared memory",
        ResidentPart::OtherMappings => "other mappings",
    }
}

/// Why a process is *inconclusive* of which no site is: the first note, and how much longer to run.
pub(super) fn too_little_in_words(judged: &Judged) -> String {
    let judgement = &judged.judgement;
    let why = judgement.notes.first().map_or("the data does not tell yet", String::as_str);
    let more = judgement.more_ms.map_or_else(String::new, |ms| format!("; run about {} longer", units::duration(ms)));
    format!("inconclusive: {why}{more}")
}

/// The processes that follow each other.
pub(super) fn program_of<'a>(restarts: &Restarts, processes: &'a [Judged]) -> &'a str {
    let one = restarts.series.first().and_then(|place| processes.get(*place));
    one.map_or("the program", |judged| program_name(&judged.series.process))
}

/// `restarts of shop hide a leak: 5 processes of about 20.0 s grow by 50.0 KiB/s each (…), to about 1.00 MiB`
pub(super) fn restarts_in_words(restarts: &Restarts, processes: &[Judged]) -> String {
    let rate = restarts.rate_bytes_per_second;
    format!(
        "restarts of {} hide a leak: {} processes of about {} grow by {} each (middle half: {}), to about {}",
        program_of(restarts, processes),
        restarts.lives,
        units::duration(restarts.life_ms),
        units::rate(rate.estimate),
        units::rate_interval(rate.estimate, rate.low, rate.high),
        units::bytes(restarts.peak_bytes)
    )
}

/// What to do about restarts.
pub(super) const MEND_RESTARTS: &str = "look at the sites that grow in the longest of these runs, or record one that is \
                                        not restarted: nothing else tells which site it is";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_its_interval() {
        let (min, h) = (60_000, 3_600_000);
        for (ms, earliest_ms, latest_ms, text) in [
            (3 * h + 10 * min, 2 * h + 40 * min, Some(4 * h), "reaches 512 MiB in 3 h 10 min (2 h 40 min to 4 h)"),
            (4 * h, 2 * h, None, "reaches 512 MiB in 4 h (2 h at the earliest)"),
            (0, 0, Some(0), "is at its limit of 512 MiB"),
        ] {
            assert_eq!(limit_in_words(TimeToLimit { limit_bytes: 512 << 20, ms, earliest_ms, latest_ms }), text);
        }
    }
}
