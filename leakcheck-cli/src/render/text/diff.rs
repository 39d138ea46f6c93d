//! The report of `diff`.

use super::ADD_THE_RECORDER;
use super::page::{BOLD, DIM, Look, Page, verdict_style};
use crate::render::headline::headline_of_diff;
use crate::render::site_label::SiteLabel;
use crate::render::{DiffReport, program_name, source_in_words};
use crate::units;
use anstyle::Style;
use leakcheck::analysis::{SiteChange, Verdict};

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
            source_in_words(&facts.recording)
        );
        page.line(&line, DIM);
    }
    if !report.diff.same_recording {
        page.wrapped("note: ", DIFFERENT_RECORDINGS, verdict_style(Verdict::Inconclusive));
    }
    if report.baseline.recording.mode != report.current.recording.mode {
        page.wrapped("note: ", DIFFERENT_MODES, verdict_style(Verdict::Inconclusive));
    }
    if report.resident_alone().is_some() {
        page.wrapped("note: ", ADD_THE_RECORDER, DIM);
        return page.out;
    }
    page.blank();
    let rows: Vec<Row> = report.diff.sites.iter().take(report.top).map(Row::of).collect();
    if report.diff.sites.is_empty() {
        page.line("No site differs.", Style::new());
    }
    table(&mut page, &rows);
    let hidden = report.diff.sites.len().saturating_sub(report.top);
    if hidden > 0 {
        page.line(&format!("… and {hidden} more; --top {} shows them all", report.top + hidden), DIM);
    }
    page.blank();
    page.line(&change_counts(&report.diff.sites), Style::new());
    page.wrapped("", "A diff shows growth, not a verdict: `leakcheck check` judges a whole series.", DIM);
    page.out
}

pub(in crate::render) const DIFFERENT_RECORDINGS: &str = "the snapshots are of different recordings; live memory is compared, \
     site by site, by the functions of the stacks";
pub(in crate::render) const DIFFERENT_MODES: &str = "one snapshot is exact and the other sampled, or the sampling intervals \
     differ; sampled numbers are estimates";

/// A site with its numbers as they are shown.
struct Row<'a> {
    numbers: [String; 4],
    site: &'a SiteChange,
}

impl<'a> Row<'a> {
    fn of(site: &'a SiteChange) -> Self {
        let numbers = [
            units::signed_bytes(site.growth_bytes()),
            units::signed_count(site.growth_blocks()),
            change_in_words(site),
            units::bytes(site.live_after().bytes),
        ];
        Self { numbers, site }
    }
}

/// Columns are as wide as what is in them, which leaves most to the names.
fn table(page: &mut Page, rows: &[Row<'_>]) {
    const TITLES: [&str; 4] = ["growth", "blocks", "percent", "live"];
    const CALLERS: usize = 2;
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.numbers[column].as_str()).chain([TITLES[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3].map(width);
    let line = |cells: [&str; 4]| -> String {
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}  ")).collect()
    };
    page.line(&format!("{}site", line(TITLES)), BOLD);
    for Row { numbers, site } in rows {
        let start = line([0, 1, 2, 3].map(|column| numbers[column].as_str()));
        let style = if site.growth_bytes() > 0 { BOLD } else { Style::new() };
        page.row(&start, &SiteLabel::of_site(&site.stack, site.scope.as_deref()), style);
        let title = site.stack.title();
        let callers = site.stack.frames.iter().skip_while(|frame| Some(*frame) != title).skip(1);
        for frame in callers.take(CALLERS) {
            let indent = start.chars().count();
            page.row(&format!("{:indent$}from ", ""), &SiteLabel::of_frame(frame), DIM);
        }
        if let Some(text) = evidence_in_words(site) {
            page.wrapped(&" ".repeat(start.chars().count()), text, DIM);
        }
    }
}

/// What the birth generations say.
pub(in crate::render) fn evidence_in_words(site: &SiteChange) -> Option<&str> {
    site.evidence.as_ref().map(|evidence| evidence.text.as_str())
}

/// `new`, `gone`, or the growth in percent.
pub(in crate::render) fn change_in_words(site: &SiteChange) -> String {
    match (site.baseline, site.current) {
        (None, _) => "new".to_owned(),
        (_, None) => "gone".to_owned(),
        _ => units::percent(site.growth_bytes(), site.live_before().bytes).unwrap_or_else(|| "was 0".to_owned()),
    }
}

/// `3 sites grew, 1 shrank, 5 kept their size; 1 of them is new, 1 is gone`
pub(in crate::render) fn change_counts(sites: &[SiteChange]) -> String {
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
