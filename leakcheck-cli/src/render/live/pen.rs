//! Writing into boxes of cells: what does not fit is shortened by the columns it takes, and nothing leaves its box.

use crate::render::site_label::printable;
use leakcheck::analysis::Verdict;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use ratatui::text::Span;

pub(super) use ratatui::layout::Rect;
pub(super) use ratatui::style::Style;

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// For what must not be overlooked.
pub(super) const LOUD: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Writes into the cells of one picture.
pub(super) struct Pen<'a> {
    cells: &'a mut Buffer,
    colour: bool,
}

/// A number at the right of its column, or words at the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl<'a> Pen<'a> {
    pub(super) const fn new(cells: &'a mut Buffer, colour: bool) -> Self {
        Self { cells, colour }
    }

    /// The style of a verdict. Its word is always written as well: colour alone tells nothing.
    pub(super) const fn verdict(&self, verdict: Verdict) -> Style {
        match verdict {
            Verdict::Leaking => self.coloured(Color::Red),
            Verdict::Inconclusive => self.coloured(Color::Yellow),
            Verdict::Bounded => self.coloured(Color::Green),
        }
    }

    /// The style of live memory in charts, where resident memory is plain.
    pub(super) const fn live(&self) -> Style {
        if self.colour { Style::new().fg(Color::Cyan) } else { PLAIN }
    }

    const fn coloured(&self, colour: Color) -> Style {
        if self.colour { BOLD.fg(colour) } else { BOLD }
    }

    /// Writes from the left of the first line of `place`, shortened to its columns; how many it took.
    pub(super) fn write(&mut self, place: Rect, text: &str, style: Style) -> u16 {
        let place = place.intersection(self.cells.area);
        if place.is_empty() {
            return 0;
        }
        let text = shortened(&printable(text), usize::from(place.width));
        // Over what was written before, not on top of its style.
        let style = Style::reset().patch(style);
        let (end, _) = self.cells.set_stringn(place.x, place.y, &text, usize::from(place.width), style);
        end - place.x
    }

    /// Writes the parts one after the other.
    pub(super) fn write_parts(&mut self, place: Rect, parts: &[(&str, Style)]) -> u16 {
        parts.iter().fold(0, |used, (text, style)| used + self.write(from_column(place, used), text, *style))
    }

    pub(super) fn write_at(&mut self, side: Side, place: Rect, text: &str, style: Style) {
        let start = match side {
            Side::Left => 0,
            Side::Right => usize::from(place.width).saturating_sub(width(text)) as u16,
        };
        self.write(from_column(place, start), text, style);
    }

    /// A line across `place` with a title in it.
    pub(super) fn rule(&mut self, place: Rect, title: &[(&str, Style)]) {
        self.write(place, &"─".repeat(usize::from(place.width)), DIM);
        if place.width > 4 && !title.is_empty() {
            let used = 2 + self.write_parts(from_column(Rect { width: place.width - 1, ..place }, 2), &[(" ", PLAIN)]);
            let used = used + self.write_parts(from_column(place, used), title);
            self.write(from_column(place, used), " ", PLAIN);
        }
    }

    /// Empties `place`.
    pub(super) fn wipe(&mut self, place: Rect) {
        for line in place.rows() {
            self.write(line, &" ".repeat(usize::from(place.width)), PLAIN);
        }
    }
}

/// What is left of `place` without its first columns.
pub(super) fn from_column(place: Rect, column: u16) -> Rect {
    let column = column.min(place.width);
    Rect { x: place.x + column, width: place.width - column, ..place }
}

/// One line of `place`; empty where there is none.
pub(super) fn line_of(place: Rect, line: u16) -> Rect {
    if line < place.height { Rect { y: place.y + line, height: 1, ..place } } else { Rect { height: 0, ..place } }
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, cut at its end when it is wider than `room`.
pub(super) fn shortened(text: &str, room: usize) -> String {
    if width(text) <= room { text.to_owned() } else { cut(text, room) }
}

fn cut(text: &str, room: usize) -> String {
    let Some(room) = room.checked_sub(1) else { return String::new() };
    format!("{}…", beginning(text, room))
}

/// The text, cut in its middle when it is wider than `room`: names differ at both ends.
pub(super) fn shortened_inside(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let Some(rest) = room.checked_sub(1) else { return String::new() };
    let mut end = String::new();
    for c in text.chars().rev() {
        let longer = format!("{c}{end}");
        if width(&longer) > rest / 2 {
            break;
        }
        end = longer;
    }
    format!("{}…{end}", beginning(text, rest - width(&end)))
}

/// As much from the start of the text as takes at most `room` columns.
fn beginning(text: &str, room: usize) -> &str {
    let ends = text.char_indices().map(|(at, _)| at).take(room * 4 + 1);
    let end = ends.take_while(|end| width(&text[..*end]) <= room).last().unwrap_or(0);
    &text[..end]
}

/// The text in lines of at most `room` columns, broken between words; the last of `lines_max` ends with `…` when there
/// would be more.
pub(super) fn in_lines(text: &str, room: usize, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let mut line = word.to_owned();
        if lines.len() + 1 == lines_max {
            line.extend(words.by_ref().flat_map(|word| [" ", word]));
        }
        while let Some(word) = words.next_if(|word| width(&line) + 1 + width(word) <= room) {
            line.push(' ');
            line.push_str(word);
        }
        lines.push(shortened(&line, room));
    }
    lines.truncate(lines_max);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_the_columns_they_take() {
        for (text, room, at_the_end, inside) in [
            ("worker", 6, "worker", "worker"),
            ("worker-17", 6, "worke…", "wor…17"),
            ("記憶の漏れ", 10, "記憶の漏れ", "記憶の漏れ"),
            ("記憶の漏れ", 6, "記憶…", "記…れ"),
            ("🦀🦀🦀", 5, "🦀🦀…", "🦀…🦀"),
            ("worker", 1, "…", "…"),
            ("worker", 0, "", ""),
            ("", 0, "", ""),
        ] {
            assert_eq!(shortened(text, room), at_the_end);
            assert_eq!(shortened_inside(text, room), inside);
        }
    }

    #[test]
    fn lines_break_between_words_and_tell_when_there_is_more() {
        let text = "leaking: 2 sites, the worst a cache";
        assert_eq!(in_lines(text, 40, 2), [text]);
        assert_eq!(in_lines(text, 20, 2), ["leaking: 2 sites,", "the worst a cache"]);
        assert_eq!(in_lines(text, 12, 2), ["leaking: 2", "sites, the …"]);
        assert_eq!(in_lines(text, 3, 1), ["le…"]);
        assert_eq!(in_lines("", 3, 1), [""; 0]);
    }

    #[test]
    fn nothing_leaves_its_box() {
        let mut cells = Buffer::empty(Rect::new(0, 0, 10, 3));
        let mut pen = Pen::new(&mut cells, true);
        pen.write(Rect::new(2, 1, 5, 1), "a\u{1b}[31m記憶の", PLAIN);
        pen.write(Rect::new(8, 2, 50, 9), "much too long", PLAIN);
        pen.write(Rect::new(50, 50, 5, 1), "outside", PLAIN);
        pen.write_at(Side::Right, Rect::new(0, 0, 4, 1), "1", PLAIN);
        assert_eq!(cells, Buffer::with_lines(["   1      ", "  a\u{fffd}[3…   ", "        m…"]));
    }
}
