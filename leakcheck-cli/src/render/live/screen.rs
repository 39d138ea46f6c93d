//! The whole picture, from the answer at the top to the keys at the bottom.

use super::chart::{chart, small_chart};
use super::pen::Pen;
use super::process_table::process_table;
use super::site_table::{lines_wanted, site_table};
use super::state::LiveState;
use super::{head, help, layout, notes};
use crate::render::text::Look;
use crate::render::watch_view::{ProcessView, WatchView};
use ratatui::Frame;
use std::cmp::Reverse;

/// Draws what is known into a frame of any size.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &WatchView, state: &LiveState, look: Look) {
    let screen = frame.area();
    let mut pen = Pen::new(frame.buffer_mut(), look.colour);
    let shown = state.shown(view);
    let selected_at = state.selected_at(&shown.processes);
    let selected = selected_at.map(|at| &shown.processes[at]);
    let sections = layout::sections(screen, shown.processes.len(), lines_wanted(selected));
    head::headline(&mut pen, sections.headline, shown);
    head::status(&mut pen, sections.status, view, state);
    process_table(&mut pen, sections.processes, &shown.processes, selected_at);
    if let Some(selected) = selected {
        let others = others(&shown.processes, selected_at);
        let (large, small) = layout::charts(sections.charts, others.len());
        chart(&mut pen, large, selected);
        for (place, process) in small.into_iter().zip(others) {
            small_chart(&mut pen, place, process);
        }
        site_table(&mut pen, sections.sites, selected, state);
    }
    notes::notes(&mut pen, sections.notes, shown, selected);
    head::footer(&mut pen, sections.footer, state);
    if state.help {
        help::help(&mut pen, screen);
    }
}

/// The processes that are not selected, those with the worst verdict first.
fn others(processes: &[ProcessView], selected: Option<usize>) -> Vec<&ProcessView> {
    let mut others: Vec<&ProcessView> =
        processes.iter().enumerate().filter(|(at, _)| Some(*at) != selected).map(|(_, process)| process).collect();
    others.sort_by_key(|process| Reverse(process.verdict));
    others
}
