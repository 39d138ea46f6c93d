//! What the keys do and what the words mean, in a box over the picture.

use super::pen::{BOLD, PLAIN, Pen, Rect, from_column, line_of, width};

const LINES: &[(&str, &str)] = &[
    ("q, Ctrl-C", "end the watch and print the report"),
    ("p, space", "stand still, or go on; watching never stops"),
    ("s", "take a snapshot of all recorded processes now"),
    ("o", "sort the sites by growth, live, blocks or name"),
    ("↑ ↓, k j", "pick a process"),
    ("Tab", "pick the next process that leaks"),
    ("← →", "scroll the sites"),
    ("?, Esc", "close this help"),
    ("", ""),
    ("leaking", "it keeps growing"),
    ("inconclusive", "the data does not tell yet; NEEDS says how long"),
    ("bounded", "it stays within a bound that was seen"),
    ("live", "allocated and not freed, as the recorder counts"),
    ("resident", "memory it occupies, as the kernel counts"),
    ("kernel only", "without the recorder there are no sites"),
];
const KEY_COLUMNS: u16 = 14;

/// Draws the help in the middle of the screen.
pub(super) fn help(pen: &mut Pen<'_>, screen: Rect) {
    let words = LINES.iter().map(|(_, words)| width(words)).max().unwrap_or_default() as u16;
    let (wide, high) = ((KEY_COLUMNS + words + 4).min(screen.width), (LINES.len() as u16 + 2).min(screen.height));
    let place = Rect {
        x: screen.x + (screen.width - wide) / 2,
        y: screen.y + (screen.height - high) / 2,
        width: wide,
        height: high,
    };
    pen.wipe(Rect { x: place.x.saturating_sub(2), width: place.width + 4, ..place }.intersection(screen));
    pen.rule(line_of(place, 0), &[("help", BOLD)]);
    if high > 1 {
        pen.rule(line_of(place, high - 1), &[]);
    }
    for (line, (key, words)) in LINES.iter().take(usize::from(high).saturating_sub(2)).enumerate() {
        let line = from_column(line_of(place, line as u16 + 1), 2);
        pen.write(Rect { width: line.width.min(KEY_COLUMNS), ..line }, key, BOLD);
        pen.write(from_column(line, KEY_COLUMNS), words, PLAIN);
    }
}
