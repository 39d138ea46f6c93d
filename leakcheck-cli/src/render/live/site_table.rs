//! The sites of the selected process, those that grow most first; or why there are none.

use super::pen::{BOLD, PLAIN, Pen, Rect, Side, in_lines, line_of, width};
use super::sparkline::sparkline;
use super::state::{LiveState, sorted};
use super::table::{Column, arranged, cell, titles};
use crate::render::headline::verdict_in_words;
use crate::render::site_label::SiteLabel;
use crate::render::watch_view::{EvidenceKind, ProcessView, SiteView};
use crate::units;

const NO_RECORDER: &str = "The kernel's figures do not show sites: they need the recorder in the program, which is the \
     `#[global_allocator]` line of leakcheck in its main.rs, and `leakcheck run -- PROGRAM` to start it.";
const NO_SITES_YET: &str = "No site has been recorded yet.";

/// Lines that the sites of a process take with their titles, when there is room.
pub(super) fn lines_wanted(process: Option<&ProcessView>) -> usize {
    match process {
        Some(process) if process.evidence == EvidenceKind::Kernel => 4,
        Some(process) => 3 + process.sites.len(),
        None => 0,
    }
}

/// Draws the sites below a rule.
pub(super) fn site_table(pen: &mut Pen<'_>, place: Rect, process: &ProcessView, state: &LiveState) {
    let body = Rect { y: place.y + place.height.min(1), height: place.height.saturating_sub(1), ..place };
    let whose = format!("{} {}", process.name, process.pid);
    let sentence = match (process.evidence, process.sites.is_empty()) {
        (EvidenceKind::Kernel, _) => NO_RECORDER,
        (_, true) => NO_SITES_YET,
        _ => {
            let rows = usize::from(body.height).saturating_sub(1);
            let sites = sorted(&process.sites, state.order);
            let above = state.sites_above.min(sites.len().saturating_sub(rows));
            let shown = &sites[above..sites.len().min(above + rows)];
            title(pen, place, &whose, process, state, (above, shown.len()));
            return rows_of(pen, body, shown);
        }
    };
    pen.rule(line_of(place, 0), &[("sites of ", PLAIN), (&whose, BOLD)]);
    for (line, text) in in_lines(sentence, usize::from(body.width), usize::from(body.height)).iter().enumerate() {
        pen.write(line_of(body, line as u16), text, PLAIN);
    }
}

/// `sites of shop 4711 by growth · 5 of 45 shown · 1 leaking, 1 inconclusive`
fn title(
    pen: &mut Pen<'_>,
    place: Rect,
    whose: &str,
    process: &ProcessView,
    state: &LiveState,
    (above, shown): (usize, usize),
) {
    let [leaking, inconclusive, _] = process.site_counts.map(units::count);
    let all = process.site_counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let all = all.max(process.sites.len() as u64);
    let from = if above > 0 { format!("{} to ", above + 1) } else { String::new() };
    let order = format!(" by {}", state.order.in_words());
    let shown = format!(" · {from}{} of {} shown", above + shown, units::count(all));
    let counts = format!(" · {leaking} leaking, {inconclusive} inconclusive");
    pen.rule(
        line_of(place, 0),
        &[("sites of ", PLAIN), (whose, BOLD), (&order, PLAIN), (&shown, PLAIN), (&counts, PLAIN)],
    );
}

fn rows_of(pen: &mut Pen<'_>, body: Rect, sites: &[&SiteView]) {
    let columns = columns(sites, usize::from(body.width));
    let slots = arranged(&columns, usize::from(body.width));
    titles(pen, line_of(body, 0), &columns, &slots);
    for (row, site) in sites.iter().enumerate() {
        let line = line_of(body, row as u16 + 1);
        for slot in &slots {
            let (text, style) = match slot.column {
                0 => (sparkline(&site.live_over_time, slot.width), pen.live()),
                3 => (verdict_in_words(site.verdict).to_owned(), pen.verdict(site.verdict)),
                5 => (fitted(&site.label, slot.width), PLAIN),
                number => (words(site, number), PLAIN),
            };
            cell(pen, line, &columns[slot.column], *slot, &text, style);
        }
    }
}

fn columns(sites: &[&SiteView], room: usize) -> [Column; 6] {
    const SITE_MIN: usize = 36;
    let widest = |text: &dyn Fn(&SiteView) -> usize| sites.iter().map(|site| text(site)).max().unwrap_or_default();
    let number = |title, column, width_min: usize, rank| {
        let width = widest(&|site| width(&words(site, column))).max(width_min);
        Column { title, side: Side::Right, width, width_max: width, rank }
    };
    let text = |title, width, width_max, rank| Column { title, side: Side::Left, width, width_max, rank };
    [
        text("OVER TIME", 9, 32, 4),
        number("LIVE", 1, 8, 2),
        number("GROWTH", 2, 10, 1),
        text("VERDICT", 12, 12, 3),
        number("BLOCKS", 4, 9, 5),
        text("SITE", SITE_MIN.min(room), widest(&|site| width(&site.label)), 0),
    ]
}

fn words(site: &SiteView, column: usize) -> String {
    match column {
        1 => units::bytes(site.live_bytes),
        2 => site.rate_bytes_per_second.map_or_else(String::new, units::rate),
        4 => units::count(site.live_blocks),
        _ => String::new(),
    }
}

/// The label, shortened so that the function stays.
fn fitted(label: &str, room: usize) -> String {
    let (name, place) = label.split_once("  ").unwrap_or((label, ""));
    let label = SiteLabel { name: name.to_owned(), place: place.to_owned() };
    label.fitted(|text| width(text) <= room)
}
