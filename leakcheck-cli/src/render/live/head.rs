//! The first lines, which answer, and the last one, which says what can be done.

use super::pen::{BOLD, DIM, LOUD, PLAIN, Pen, Rect, Style, from_column, in_lines, line_of, width};
use super::state::LiveState;
use crate::render::headline::verdict_in_words;
use crate::render::watch_view::{ProcessState, WatchView};
use crate::units;
use leakcheck::analysis::Verdict;

/// The verdict so far in its words and colour, and the headline.
pub(super) fn headline(pen: &mut Pen<'_>, place: Rect, view: &WatchView) {
    let style = pen.verdict(view.verdict);
    let text = if view.headline.is_empty() { verdict_in_words(view.verdict) } else { &view.headline };
    // Up to the colon is the answer.
    let answer = text.split(':').next().unwrap_or_default().chars().count();
    for (line, text) in in_lines(text, usize::from(place.width), usize::from(place.height)).iter().enumerate() {
        let line_place = line_of(place, line as u16);
        pen.write(line_place, text, BOLD);
        if line == 0 {
            pen.write(line_place, &text.chars().take(answer).collect::<String>(), style);
        }
    }
}

/// How long it has been watched and will be, and what is to be known about the picture.
pub(super) fn status(pen: &mut Pen<'_>, place: Rect, now: &WatchView, state: &LiveState) {
    let shown = state.shown(now);
    let mut parts: Vec<(String, Style)> = Vec::new();
    if let Some(message) = &state.message {
        parts.push((message.clone(), LOUD));
    }
    if state.frozen.is_some() {
        parts.push((paused_in_words(shown, now), LOUD));
    }
    parts.push((format!("watched for {}", units::duration(shown.elapsed_ms)), PLAIN));
    if let Some(ms) = more_ms(shown) {
        parts.push((format!("all answers in about {}", units::duration(ms)), PLAIN));
    }
    if let Some(ends) = shown.ends_ms {
        parts.push((format!("ends in {}", units::duration(ends.saturating_sub(shown.elapsed_ms))), PLAIN));
    }
    parts.push((processes_in_words(shown), PLAIN));
    parts.push((own_cost_in_words(shown), DIM));
    let mut used = 0;
    for (text, style) in parts {
        let left = from_column(place, used);
        let separator = if used == 0 { "" } else { " · " };
        // A part that would be cut is left out; the first one is always shown.
        if used == 0 || width(separator) + width(&text) <= usize::from(left.width) {
            used += pen.write_parts(left, &[(separator, DIM), (&text, style)]);
        }
    }
}

fn paused_in_words(shown: &WatchView, now: &WatchView) -> String {
    let ago = units::duration(now.elapsed_ms.saturating_sub(shown.elapsed_ms));
    let verdict =
        if shown.verdict == now.verdict { String::new() } else { format!(", now {}", verdict_in_words(now.verdict)) };
    format!("PAUSED {ago} ago, watching goes on{verdict}")
}

/// How much longer until all who run have an answer.
fn more_ms(view: &WatchView) -> Option<u64> {
    let waiting = view.processes.iter().filter(|process| process.state == ProcessState::Running);
    waiting.filter(|process| process.verdict == Verdict::Inconclusive).filter_map(|process| process.more_ms).max()
}

/// `2 processes, 4 ended`
fn processes_in_words(view: &WatchView) -> String {
    let ended = view.processes.iter().filter(|process| process.state == ProcessState::Ended).count();
    let running = view.processes.len() - ended;
    let running = format!("{} process{}", units::count(running as u64), if running == 1 { "" } else { "es" });
    match view.ended_before.saturating_add(ended as u64) {
        0 => running,
        ended => format!("{running}, {} ended", units::count(ended)),
    }
}

fn own_cost_in_words(view: &WatchView) -> String {
    let percent = view.own.cpu_ms as f64 * 100.0 / view.elapsed_ms.max(1) as f64;
    format!("watching takes {percent:.1} % CPU, {}", units::bytes(view.own.rss_bytes))
}

/// The keys, those first that one looks for first.
pub(super) fn footer(pen: &mut Pen<'_>, place: Rect, state: &LiveState) {
    let pause = if state.frozen.is_some() { "go on" } else { "pause" };
    let keys = [
        ("q", "quit with report"),
        ("?", "help"),
        ("p", pause),
        ("s", "snapshot"),
        ("o", "sort"),
        ("↑↓", "process"),
        ("←→", "sites"),
        ("Tab", "next leak"),
    ];
    let mut used = 0;
    for (key, words) in keys {
        let left = from_column(place, used);
        if width(key) + 1 + width(words) <= usize::from(left.width) {
            used += pen.write_parts(left, &[(key, LOUD), (" ", PLAIN), (words, PLAIN), ("  ", PLAIN)]);
        }
    }
}
