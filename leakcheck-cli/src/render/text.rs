//! Reports as text for a terminal: the answer first, then the evidence, then what to do next.

use super::headline::{cause_in_words, headline_of_check, headline_of_diff, verdict_in_words};
use super::site_label::{SiteLabel, simple_name};
use super::{CheckReport, DiffReport, Judged, mode_in_words, program_name};
use crate::units;
use anstyle::{AnsiColor, Style};
use leakcheck::analysis::{Finding, SiteChange, Verdict};
use leakcheck::model::{FoldedFrame, FoldedStack, Origin};
use std::fmt::Write;

/// Where the text is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Columns to stay within; `None` shortens and wraps nothing but sentences.
    pub(crate) columns: Option<usize>,
    /// Whether to colour.
    pub(crate) colour: bool,
}

/// Frames shown of a stack.
const FRAMES_MAX: usize = 8;
/// Bounded sites shown, one line each.
const BOUNDED_MAX: usize = 3;

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

fn findings(page: &mut Page, judged: &Judged, top: usize) {
    let all = &judged.judgement.findings;
    let telling = || all.iter().filter(|finding| finding.verdict != Verdict::Bounded);
    for (place, finding) in telling().take(top).enumerate() {
        page.blank();
        one_finding(page, place + 1, finding);
    }
    let hidden = telling().count().saturating_sub(top);
    if hidden > 0 {
        page.blank();
        page.line(&format!("… and {hidden} more; --top {} shows them all", top + hidden), DIM);
    }
    let bounded: Vec<&Finding> = all.iter().filter(|finding| finding.verdict == Verdict::Bounded).collect();
    if !bounded.is_empty() && top > 0 {
        page.blank();
        page.line("bounded, the largest:", verdict_style(Verdict::Bounded));
        for finding in bounded.iter().take(BOUNDED_MAX) {
            let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
            page.row(&format!("{:>12}  ", units::bytes(finding.live.bytes)), &label, Style::new());
        }
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

pub(super) fn live_in_words(finding: &Finding) -> String {
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
pub(super) const ADD_THE_RECORDER: &str = "add the recorder to the program and build it again: `cargo add leakcheck`, then in its main.rs \
     `#[global_allocator] static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();`";

/// The report of `diff`.
pub(crate) fn diff(report: &DiffReport, look: Look) -> String {
    let mut page = Page::new(look);
    page.headline(&headline_of_diff(report), BOLD);
    page.blank();
    for (name, facts) in [("baseline", &report.baseline), ("current", &report.current)] {
        let line = format!(
            "{name:<9} {}: {}, pid {}, snapshot {}, {}",
            facts.path.display(),
            program_name(&facts.process),
            facts.process.pid,
            facts.sequence,
            mode_in_words(facts.recording.mode)
        );
        page.line(&line, DIM);
    }
    if !report.diff.same_recording {
        page.wrapped("note: ", DIFFERENT_RECORDINGS, verdict_style(Verdict::Inconclusive));
    }
    if report.baseline.recording.mode != report.current.recording.mode {
        page.wrapped("note: ", DIFFERENT_MODES, verdict_style(Verdict::Inconclusive));
    }
    page.blank();
    if report.diff.sites.is_empty() {
        page.line("No site differs.", Style::new());
    } else {
        page.line(&format!("{:>12} {:>12} {:>9} {:>12}  {}", "growth", "blocks", "percent", "live", "site"), BOLD);
    }
    for site in report.diff.sites.iter().take(report.top) {
        change(&mut page, site);
    }
    let hidden = report.diff.sites.len().saturating_sub(report.top);
    if hidden > 0 {
        page.line(&format!("… and {hidden} more; --top {} shows them all", report.top + hidden), DIM);
    }
    page.blank();
    page.line(&change_counts(&report.diff.sites), Style::new());
    page.wrapped("", "A diff shows growth, not a verdict: `leakcheck check` judges a whole series.", DIM);
    page.out
}

pub(super) const DIFFERENT_RECORDINGS: &str = "the snapshots are of different recordings; live memory is compared, \
     site by site, by the functions of the stacks";
pub(super) const DIFFERENT_MODES: &str = "one snapshot is exact and the other sampled, or the sampling intervals \
     differ; sampled numbers are estimates";

fn change(page: &mut Page, site: &SiteChange) {
    let start = format!(
        "{:>12} {:>12} {:>9} {:>12}  ",
        units::signed_bytes(site.growth_bytes()),
        units::signed_count(site.growth_blocks()),
        change_in_words(site),
        units::bytes(site.live_after().bytes)
    );
    let style = match site.growth_bytes() {
        1.. => Style::new().bold(),
        _ => Style::new(),
    };
    page.row(&start, &SiteLabel::of_site(&site.stack, site.scope.as_deref()), style);
    let title = site.stack.title();
    let callers = site.stack.frames.iter().skip_while(|frame| Some(*frame) != title).skip(1);
    for frame in callers.take(2) {
        page.row(&format!("{:50}from ", ""), &SiteLabel::of_frame(frame), DIM);
    }
}

/// `new`, `gone`, or the growth in percent.
pub(super) fn change_in_words(site: &SiteChange) -> String {
    match (site.baseline, site.current) {
        (None, _) => "new".to_owned(),
        (_, None) => "gone".to_owned(),
        _ => units::percent(site.growth_bytes(), site.live_before().bytes).unwrap_or_else(|| "was 0".to_owned()),
    }
}

/// `3 sites grew, 1 shrank, 5 kept their size; 1 of them is new, 1 is gone`
pub(super) fn change_counts(sites: &[SiteChange]) -> String {
    let count = |wanted: &dyn Fn(&SiteChange) -> bool| sites.iter().filter(|site| wanted(site)).count();
    format!(
        "{} grew, {} shrank, {} kept their size while allocating; {} new, {} gone.",
        units::counted(count(&|site| site.growth_bytes() > 0) as u64, "site"),
        count(&|site| site.growth_bytes() < 0),
        count(&|site| site.growth_bytes() == 0),
        count(&|site| site.baseline.is_none()),
        count(&|site| site.current.is_none())
    )
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

fn verdict_style(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Leaking => AnsiColor::Red,
        Verdict::Inconclusive => AnsiColor::Yellow,
        Verdict::Bounded => AnsiColor::Green,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

fn field_start(name: &str) -> String {
    format!("    {name:<9} ")
}

/// Lines that keep within the columns.
struct Page {
    out: String,
    look: Look,
}

impl Page {
    const fn new(look: Look) -> Self {
        Self { out: String::new(), look }
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line that is never cut, so that programs may read it.
    fn headline(&mut self, text: &str, style: Style) {
        let (answer, rest) = text.find(':').map_or((text, ""), |at| text.split_at(at));
        self.styled(answer, style);
        self.styled(rest, BOLD);
        self.blank();
    }

    fn line(&mut self, text: &str, style: Style) {
        self.styled(text, style);
        self.blank();
    }

    /// A site or frame after `start`, shortened to the columns.
    fn row(&mut self, start: &str, label: &SiteLabel, style: Style) {
        let room =
            self.look.columns.map_or(usize::MAX, |columns| columns.saturating_sub(start.chars().count()).max(20));
        let text = label.fitted(|text| text.chars().count() <= room);
        self.styled(start, style);
        match text.split_once("  ") {
            Some((name, place)) => {
                self.styled(name, style);
                self.styled(&format!("  {place}"), if style == DIM { DIM } else { Style::new() });
            }
            None => self.styled(&text, style),
        }
        self.blank();
    }

    fn field(&mut self, name: &str, text: &str) {
        let start = field_start(name);
        let width = start.chars().count();
        self.styled(&start, DIM);
        self.wrapped_at(width, text, Style::new());
    }

    fn wrapped(&mut self, start: &str, text: &str, style: Style) {
        self.styled(start, style);
        self.wrapped_at(start.chars().count(), text, style);
    }

    /// The rest of a line that has reached column `indent`, wrapped between words and indented to there.
    fn wrapped_at(&mut self, indent: usize, text: &str, style: Style) {
        /// Longer lines are hard to read, however wide the terminal is.
        const COLUMNS_MAX: usize = 100;
        let columns = self.look.columns.unwrap_or(COLUMNS_MAX).min(COLUMNS_MAX);
        let room = columns.saturating_sub(indent).max(20);
        let mut line = String::new();
        let mut first = true;
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                self.wrapped_line(&mut first, indent, &line, style);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.wrapped_line(&mut first, indent, &line, style);
    }

    fn wrapped_line(&mut self, first: &mut bool, indent: usize, line: &str, style: Style) {
        if !std::mem::take(first) {
            self.out.extend(std::iter::repeat_n(' ', indent));
        }
        self.line(line, style);
    }

    fn styled(&mut self, text: &str, style: Style) {
        if self.look.colour && style != Style::new() && !text.is_empty() {
            let _ = write!(self.out, "{style}{text}{style:#}");
        } else {
            self.out.push_str(text);
        }
    }
}
