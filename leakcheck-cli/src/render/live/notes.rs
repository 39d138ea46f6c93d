//! What else is growing, and what happened last.

use super::pen::{DIM, PLAIN, Pen, Rect, line_of};
use crate::render::watch_view::{ProcessView, WatchView};

/// Draws remarks, those on the selected process first, and the newest events below them.
pub(super) fn notes(pen: &mut Pen<'_>, place: Rect, view: &WatchView, selected: Option<&ProcessView>) {
    let others = view.processes.iter().filter(|process| selected.is_none_or(|selected| selected.pid != process.pid));
    let remarks: Vec<String> = selected
        .into_iter()
        .chain(others)
        .flat_map(|process| {
            process.remarks.iter().map(move |remark| format!("{} {}: {remark}", process.name, process.pid))
        })
        .collect();
    let rows = usize::from(place.height);
    // One line at least for what happened.
    let for_events = view.events.len().min(rows - rows.min(remarks.len()).min(rows / 2 + rows % 2));
    let for_remarks = remarks.len().min(rows - for_events);
    let mut line = 0;
    for (at, remark) in remarks.iter().take(for_remarks).enumerate() {
        let last = at + 1 == for_remarks && for_remarks < remarks.len();
        let more = if last { format!("({for_remarks} of {}) ", remarks.len()) } else { String::new() };
        pen.write_parts(line_of(place, line), &[("! ", PLAIN), (&more, DIM), (remark, PLAIN)]);
        line += 1;
    }
    for event in &view.events[view.events.len() - for_events..] {
        pen.write_parts(line_of(place, line), &[("· ", DIM), (event, DIM)]);
        line += 1;
    }
}
