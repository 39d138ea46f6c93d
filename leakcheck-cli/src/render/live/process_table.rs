//! The watched processes, one a line, around the selected one when there is no room for all.

use super::pen::{BOLD, DIM, PLAIN, Pen, Rect, Side, Style, line_of, shortened_inside, width};
use super::sparkline::resident_over_time;
use super::table::{Column, arranged, cell, row_style, titles};
use crate::render::headline::verdict_in_words;
use crate::render::watch_view::{EvidenceKind, ProcessState, ProcessView};
use crate::units;
use leakcheck::analysis::Verdict;

const COLUMNS: usize = 11;
/// Columns of the screen that sparklines may take.
const SPARKLINE: (usize, usize) = (9, 32);
const NAME: (usize, usize) = (11, 40);

/// Draws the table; `selected` is a place in `processes`.
pub(super) fn process_table(pen: &mut Pen<'_>, place: Rect, processes: &[ProcessView], selected: Option<usize>) {
    let rows = usize::from(place.height).saturating_sub(1);
    let (first, shown) = window(processes.len(), selected.unwrap_or(0), rows);
    let visible = &processes[first..first + shown];
    let columns = columns(visible);
    let slots = arranged(&columns, usize::from(place.width));
    titles(pen, line_of(place, 0), &columns, &slots);
    if processes.is_empty() {
        pen.write(line_of(place, 1), "no process is watched at the moment", PLAIN);
    }
    for (at, process) in visible.iter().enumerate() {
        let line = line_of(place, at as u16 + 1);
        let picked = selected == Some(first + at);
        for slot in &slots {
            let (text, style) = match slot.column {
                0 => (format!("{}{}", if picked { "▸" } else { "" }, process.pid), PLAIN),
                1 => (shortened_inside(&process.name, slot.width), PLAIN),
                2 => (verdict_in_words(process.verdict).to_owned(), pen.verdict(process.verdict)),
                5 => (resident_over_time(&process.history, slot.width), pen.live()),
                other => (words(process, other), PLAIN),
            };
            let style = row_style(picked, process.state == ProcessState::Ended).patch(style);
            cell(pen, line, &columns[slot.column], *slot, &text, style);
        }
    }
    if shown < processes.len() && shown < rows {
        let hidden = [&processes[..first], &processes[first + shown..]];
        let (text, style) = hidden_in_words(hidden);
        pen.write(line_of(place, shown as u16 + 1), &text, style);
    }
}

/// The first row shown and how many, so that the selected one is among them and the last line can tell of the rest.
fn window(all: usize, selected: usize, rows: usize) -> (usize, usize) {
    if all <= rows {
        return (0, all);
    }
    // In a single line the process itself says more than a number.
    let shown = if rows > 1 { rows - 1 } else { rows };
    (selected.saturating_sub(shown / 2).min(all - shown), shown)
}

/// `… 3 above, 190 below; 2 of them leaking`
fn hidden_in_words(hidden: [&[ProcessView]; 2]) -> (String, Style) {
    let [above, below] = hidden;
    let places: Vec<String> = [(above.len(), "above"), (below.len(), "below")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, place)| format!("{number} {place}"))
        .collect();
    let leaking = above.iter().chain(below).filter(|process| process.verdict == Verdict::Leaking).count();
    let places = places.join(", ");
    match leaking {
        0 => (format!("… {places}"), DIM),
        _ => (format!("… {places}; {leaking} of them leaking"), BOLD),
    }
}

fn columns(visible: &[ProcessView]) -> [Column; COLUMNS] {
    let widest = |text: &dyn Fn(&ProcessView) -> String| {
        visible.iter().map(|process| width(&text(process))).max().unwrap_or_default()
    };
    let pid = widest(&|process| process.pid.to_string()).max(5) + 1;
    let name = widest(&|process| process.name.clone()).max(4);
    let number = |title, column, width_min: usize, rank| {
        let width = widest(&|process| words(process, column)).max(width_min);
        Column { title, side: Side::Right, width, width_max: width, rank }
    };
    let text = |title, width, width_max, rank| Column { title, side: Side::Left, width, width_max, rank };
    [
        Column { title: "PID", side: Side::Right, width: pid, width_max: pid, rank: 1 },
        text("NAME", name.min(NAME.0), name.min(NAME.1), 2),
        text("VERDICT", 12, 12, 0),
        number("RESIDENT", 3, 8, 3),
        number("GROWTH", 4, 10, 4),
        text("OVER TIME", SPARKLINE.0, SPARKLINE.1, 5),
        number("NEEDS", 6, 6, 6),
        text("EVIDENCE", 11, 11, 7),
        text("STATE", 7, 7, 8),
        number("THREADS", 9, 7, 9),
        number("FDS", 10, 5, 10),
    ]
}

/// What stands in a column of words or numbers; nothing where nothing is known.
fn words(process: &ProcessView, column: usize) -> String {
    let number = |number: Option<u64>| number.map_or_else(String::new, units::count);
    match column {
        3 => units::bytes(process.resident.rss_bytes),
        4 => process.rate_bytes_per_second.map_or_else(String::new, units::rate),
        6 => needs_in_words(process),
        7 => evidence_in_words(process.evidence).to_owned(),
        8 => match process.state {
            ProcessState::Running => "running".to_owned(),
            ProcessState::Ended => "ended".to_owned(),
        },
        9 => number(process.resident.threads),
        10 => number(process.usage.file_descriptors),
        _ => String::new(),
    }
}

/// How much longer until there is an answer, in its largest unit: it is an estimate.
fn needs_in_words(process: &ProcessView) -> String {
    let largest = |ms| units::duration(ms).split(' ').take(2).collect::<Vec<_>>().join(" ");
    match (process.state, process.verdict, process.more_ms) {
        (ProcessState::Ended, ..) => "ended".to_owned(),
        (_, Verdict::Inconclusive, Some(ms)) => largest(ms),
        _ => String::new(),
    }
}

pub(super) const fn evidence_in_words(evidence: EvidenceKind) -> &'static str {
    match evidence {
        EvidenceKind::Exact => "every block",
        EvidenceKind::Sampled => "sampled",
        EvidenceKind::Kernel => "kernel only",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_process_is_always_shown() {
        for (all, rows) in [(0, 0), (0, 5), (3, 5), (5, 5), (6, 5), (200, 5), (200, 1), (200, 2), (3, 0)] {
            for selected in 0..all {
                let (first, shown) = window(all, selected, rows);
                assert!(shown <= rows && first + shown <= all, "{all} in {rows}");
                assert!(rows == 0 || (first..first + shown).contains(&selected), "{selected} of {all} in {rows}");
            }
        }
    }
}
