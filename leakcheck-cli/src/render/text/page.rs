//! Lines of text that keep within the columns there are.

use crate::render::site_label::SiteLabel;
use anstyle::{AnsiColor, Style};
use leakcheck::analysis::Verdict;
use std::fmt::Write;

/// Where the text is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Columns to stay within; `None` shortens and wraps nothing but sentences.
    pub(crate) columns: Option<usize>,
    /// Whether to colour.
    pub(crate) colour: bool,
}

pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();

pub(super) fn verdict_style(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Leaking => AnsiColor::Red,
        Verdict::Inconclusive => AnsiColor::Yellow,
        Verdict::Bounded => AnsiColor::Green,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

pub(super) fn field_start(name: &str) -> String {
    format!("    {name:<9} ")
}

/// Lines that keep within the columns.
pub(super) struct Page {
    pub(super) out: String,
    look: Look,
}

impl Page {
    pub(super) const fn new(look: Look) -> Self {
        Self { out: String::new(), look }
    }

    pub(super) fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line that is never cut, so that programs may read it.
    pub(super) fn headline(&mut self, text: &str, style: Style) {
        let (answer, rest) = text.find(':').map_or((text, ""), |at| text.split_at(at));
        self.styled(answer, style);
        self.styled(rest, BOLD);
        self.blank();
    }

    pub(super) fn line(&mut self, text: &str, style: Style) {
        self.styled(text, style);
        self.blank();
    }

    /// A site or frame after `start`, shortened to the columns.
    pub(super) fn row(&mut self, start: &str, label: &SiteLabel, style: Style) {
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

    pub(super) fn field(&mut self, name: &str, text: &str) {
        let start = field_start(name);
        let width = start.chars().count();
        self.styled(&start, DIM);
        self.wrapped_at(width, text, Style::new());
    }

    pub(super) fn wrapped(&mut self, start: &str, text: &str, style: Style) {
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
        // Names come from elsewhere, and terminals obey what is not printable.
        let text = &text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        if self.look.colour && style != Style::new() && !text.is_empty() {
            let _ = write!(self.out, "{style}{text}{style:#}");
        } else {
            self.out.push_str(text);
        }
    }
}
