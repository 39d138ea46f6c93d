//! What a failed assertion says. Pure: text from findings and counts.

use super::verdict::{Judged, is_own};
use crate::analysis::{Cause, Evidence, Finding, Verdict};
use crate::model::{Amount, FoldedFrame, FoldedStack, Origin};
use crate::record::{Outside, RecordError};
use std::fmt::Write as _;
use std::panic::Location;

/// Sites shown; the others are counted.
const SITES_SHOWN: usize = 5;
/// Frames shown of a stack.
const FRAMES_SHOWN: usize = 8;

/// How far a bounded assertion ran.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    pub(super) calls: u64,
    pub(super) looks: usize,
    pub(super) location: &'static Location<'static>,
}

/// A site with what is held against it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    pub(super) stack: FoldedStack,
    pub(super) amount: Amount,
    pub(super) threads: Vec<String>,
}

/// An assertion could not begin, or not be held against all blocks.
pub(super) fn nothing_asserted(error: &RecordError) -> String {
    format!("leakcheck: nothing can be asserted: {error}")
}

/// Something grows, or may.
pub(super) fn grows(judged: &Judged, ran: Ran, outside: Option<&Outside>) -> String {
    let judgement = &judged.judgement;
    let leaking = judgement.verdict == Verdict::Leaking;
    let mut text = String::new();
    let shown: Vec<&Finding> =
        judgement.findings.iter().filter(|finding| finding.verdict == judgement.verdict).collect();
    if leaking {
        let places = if shown.len() == 1 { String::new() } else { format!(", in {} places", shown.len()) };
        let per_call = shown.iter().map(|finding| judged.per_call(finding));
        let sum = per_call.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        line(&mut text, format_args!("leakcheck: memory is not bounded: {}{places}", growth(sum)));
    } else {
        line(
            &mut text,
            format_args!(
                "leakcheck: inconclusive: memory grew, and {} calls do not tell whether it goes on",
                count(ran.calls)
            ),
        );
    }
    for finding in shown.iter().take(SITES_SHOWN) {
        describe(&mut text, finding, judged.per_call(finding));
    }
    if shown.len() > SITES_SHOWN {
        line(&mut text, format_args!("  and {} more places", shown.len() - SITES_SHOWN));
    }
    line(&mut text, format_args!("  {} calls, {} looks, asserted at {}", count(ran.calls), ran.looks, ran.location));
    if !leaking {
        let more = judgement.more_ms.unwrap_or(0) / 1000;
        let wanted = (ran.calls + more).max(ran.calls * 2);
        line(
            &mut text,
            format_args!(
                "  to know, make about {} calls (a larger budget, or calls_per_round); where it fills a cache, warm up by \
                 filling it, or make it smaller in the test",
                count(wanted)
            ),
        );
    }
    if let Some(outside) = outside {
        line(&mut text, format_args!("  {}", self::outside(outside)));
    }
    text
}

fn describe(text: &mut String, finding: &Finding, per_call: (f64, f64)) {
    line(text, format_args!(""));
    line(text, format_args!("  {}  {}", growth(per_call), title(&finding.stack)));
    stack(text, &finding.stack);
    threads(text, &finding.threads);
    if finding.cause == Cause::Unknown {
        line(text, format_args!("    cause unknown: {}", finding.advice));
    } else {
        line(text, format_args!("    cause: {}; {}", finding.cause.in_words(), lower(&finding.advice)));
    }
    let probability = (finding.probability * 100.0).min(99.9);
    line(text, format_args!("    evidence (a leak with a probability of {probability:.1} %):"));
    for evidence in finding.evidence.iter().filter(|one| !one.text.is_empty()) {
        line(text, format_args!("      {}", in_calls(evidence)));
    }
}

/// Blocks are left.
pub(super) fn left(sites: &[Site], threads_running: usize, location: &Location<'_>) -> String {
    let all = sites.iter().map(|site| site.amount).fold(Amount::default(), Amount::plus);
    let mut text = String::new();
    line(&mut text, format_args!("leakcheck: {} allocated by the second call are left after it returned", amount(all)));
    list(&mut text, sites);
    if threads_running > 0 {
        line(
            &mut text,
            format_args!("  {threads_running} threads that it started still run; join them, so that they have ended"),
        );
    }
    line(&mut text, format_args!("  asserted at {location}"));
    text
}

/// A budget does not hold.
pub(super) fn over_budget(claim: &str, counted: &str, sites: &[Site], location: &Location<'_>) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("leakcheck: {counted}, asserted was {claim}"));
    list(&mut text, sites);
    line(&mut text, format_args!("  asserted at {location}"));
    text
}

/// Growth on threads of no scope.
pub(super) fn outside(outside: &Outside) -> String {
    let names = if outside.threads.is_empty() { String::new() } else { format!(" ({})", outside.threads.join(", ")) };
    format!(
        "{} more blocks are live that were allocated on threads outside of any assertion{names}; they were not judged, see \
         leakcheck::testing",
        count(outside.blocks)
    )
}

fn list(text: &mut String, sites: &[Site]) {
    for site in sites.iter().take(SITES_SHOWN) {
        line(text, format_args!(""));
        line(text, format_args!("  {}  {}", amount(site.amount), title(&site.stack)));
        stack(text, &site.stack);
        threads(text, &site.threads);
    }
    if sites.len() > SITES_SHOWN {
        line(text, format_args!("  and {} more places", sites.len() - SITES_SHOWN));
    }
}

/// `+1 block, 184 B per call`, `+1 block, 184 B in 3 calls`
fn growth((blocks, bytes): (f64, f64)) -> String {
    if blocks >= 0.95 {
        let unit = if (blocks - 1.0).abs() < 0.005 { "block" } else { "blocks" };
        return format!("+{} {unit}, {} per call", number(blocks), size(bytes));
    }
    if blocks > 0.0 {
        return format!("+1 block, {} in {} calls", size(bytes / blocks), number(1.0 / blocks));
    }
    format!("+{} per call, in the same blocks", size(bytes))
}

/// `3 blocks, 1.5 KiB`
pub(super) fn amount(amount: Amount) -> String {
    let unit = if amount.blocks == 1 { "block" } else { "blocks" };
    format!("{} {unit}, {}", count(amount.blocks), size(amount.bytes as f64))
}

fn title(stack: &FoldedStack) -> String {
    stack.title().map_or_else(|| "blocks without a stack".to_owned(), frame)
}

/// The stack up to the assertion's own frames; of those of other packages in a row the innermost one.
fn stack(text: &mut String, stack: &FoldedStack) {
    let frames: Vec<&FoldedFrame> = stack.frames.iter().take_while(|frame| !is_own(frame)).collect();
    let mut left = frames.as_slice();
    for _ in 0..FRAMES_SHOWN {
        let [first, outer @ ..] = left else { return };
        line(text, format_args!("    at {}", frame(first)));
        let alike = outer.iter().take_while(|frame| frame.origin == Origin::Dependency).count();
        let skipped = if first.origin == Origin::Dependency { alike } else { 0 };
        if skipped > 0 {
            line(text, format_args!("       and {skipped} more in dependencies"));
        }
        left = &outer[skipped..];
    }
    if !left.is_empty() {
        line(text, format_args!("    and {} more frames", left.len()));
    }
}

fn frame(frame: &FoldedFrame) -> String {
    let function = &frame.function;
    match (&function.file, function.line) {
        (Some(file), Some(line)) => format!("{}  {}:{line}", function.name, short(file)),
        (Some(file), None) => format!("{}  {}", function.name, short(file)),
        (None, _) => function.name.clone(),
    }
}

/// A package's file without the place where packages lie.
fn short(file: &str) -> &str {
    let in_registry = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    in_registry.map_or(file, |(_, rest)| rest)
}

fn threads(text: &mut String, threads: &[String]) {
    if threads.len() > 1 {
        line(text, format_args!("    on threads {}", threads.join(", ")));
    }
}

/// The series' clock counts calls.
fn in_calls(evidence: &Evidence) -> String {
    let mut text = evidence.text.replace(" a second", " a call").replace("turn of the program's loop", "call");
    text =
        text.replace("birth generations", "rounds").replace("generations", "rounds").replace("a generation", "a round");
    if evidence.rule == "doubling" {
        // `last after 12.0 s`
        text = text
            .replace(" s;", " calls;")
            .replace(" s:", " calls:")
            .replace(" s,", " calls,")
            .replace(".0 calls", " calls");
    }
    text
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{what}");
}

/// `12,345`
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Two decimals, none where there is nothing behind the point or much before it.
fn number(value: f64) -> String {
    if value >= 100.0 {
        return count(value.round() as u64);
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `184 B`, `1.5 KiB`
fn size(bytes: f64) -> String {
    const UNITS: [(&str, f64); 3] = [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes / unit),
        None if (bytes - bytes.round()).abs() < 0.05 => format!("{bytes:.0} B"),
        None => format!("{bytes:.1} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_people_do() {
        for (value, text) in [(1.0, "1"), (1.002, "1"), (4.0 / 3.0, "1.33"), (12.5, "12.5"), (1234.5, "1,235")] {
            assert_eq!(number(value), text);
        }
        for (bytes, text) in [(184.0, "184 B"), (61.33, "61.3 B"), (1536.0, "1.5 KiB"), (3e6, "2.9 MiB")] {
            assert_eq!(size(bytes), text);
        }
        for (value, text) in [(7, "7"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(value), text);
        }
        for (per_call, text) in [
            ((1.0, 184.0), "+1 block, 184 B per call"),
            ((2.5, 40.0), "+2.5 blocks, 40 B per call"),
            ((1.0 / 3.0, 8.0), "+1 block, 24 B in 3 calls"),
            ((0.0, 16.0), "+16 B per call, in the same blocks"),
        ] {
            assert_eq!(growth(per_call), text);
        }
        assert_eq!(amount(Amount::new(1, 24)), "1 block, 24 B");
    }

    #[test]
    fn evidence_speaks_of_calls() {
        let check = |rule, text: &str, expected: &str| {
            let evidence = Evidence { rule, verdict: Verdict::Leaking, log_odds: 1.0, text: text.to_owned() };
            assert_eq!(in_calls(&evidence), expected);
        };
        check("trend", "live blocks rise steadily, by 1.00 a second", "live blocks rise steadily, by 1.00 a call");
        check(
            "doubling",
            "grew 3 times to 64 bytes, last after 12.0 s: the",
            "grew 3 times to 64 bytes, last after 12 calls: the",
        );
        check("iterations", "3.000 blocks per turn of the program's loop", "3.000 blocks per call");
    }

    #[test]
    fn what_is_left_is_told_with_its_place() {
        let sites = [Site { stack: FoldedStack::default(), amount: Amount::new(2, 48), threads: Vec::new() }];
        let text = left(&sites, 1, Location::caller());
        assert!(text.starts_with("leakcheck: 2 blocks, 48 B allocated by the second call are left"), "{text}");
        assert!(text.contains("1 threads that it started still run"), "{text}");
    }
}
