//! Heap over time in dots: live memory filled, resident memory as a line, both from zero.

use super::pen::{BOLD, DIM, PLAIN, Pen, Rect, Side, Style, line_of, width};
use super::process_table::evidence_in_words;
use crate::render::headline::verdict_in_words;
use crate::render::watch_view::{HistoryPoint, ProcessView};
use crate::units;

/// Dots of a cell, across and down.
const DOTS: (usize, usize) = (2, 4);
/// The bits of Braille patterns for the dots of a cell: by column, from the top.
const BITS: [[u8; DOTS.1]; DOTS.0] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
/// Without points for so many times their usual distance, there is a gap.
const GAP: u64 = 5;

/// The chart of the selected process below a rule.
pub(super) fn chart(pen: &mut Pen<'_>, place: Rect, process: &ProcessView) {
    let whose = format!("{} {}", process.name, process.pid);
    let live = process.live_bytes.map(|bytes| format!(" · ⣿ live {}", units::bytes(bytes))).unwrap_or_default();
    let resident = format!(" · ⠒ resident {}", units::bytes(process.resident.rss_bytes));
    let evidence = format!(" · {}", evidence_in_words(process.evidence));
    let style = pen.live();
    pen.rule(
        line_of(place, 0),
        &[("heap of ", PLAIN), (&whose, BOLD), (&live, style), (&resident, PLAIN), (&evidence, DIM)],
    );
    plot(pen, below(place), process);
}

/// The chart of another process.
pub(super) fn small_chart(pen: &mut Pen<'_>, place: Rect, process: &ProcessView) {
    let whose = format!("{} {}", process.name, process.pid);
    let resident = format!("  {}", units::bytes(process.resident.rss_bytes));
    let style = pen.verdict(process.verdict);
    pen.rule(
        line_of(place, 0),
        &[(&whose, BOLD), ("  ", PLAIN), (verdict_in_words(process.verdict), style), (&resident, PLAIN)],
    );
    plot(pen, below(place), process);
}

fn below(place: Rect) -> Rect {
    Rect { y: place.y + place.height.min(1), height: place.height.saturating_sub(1), ..place }
}

/// Axes and dots.
fn plot(pen: &mut Pen<'_>, place: Rect, process: &ProcessView) {
    let history = &process.history;
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        pen.write(line_of(place, 0), "nothing has been measured yet", DIM);
        return;
    };
    let highest = history.iter().map(|point| point.rss_bytes.max(point.live_bytes.unwrap_or(0))).max().unwrap_or(0);
    let top = rounded_up(highest);
    let begin_ms = first.elapsed_ms;
    let end_ms = begin_ms.saturating_add(rounded_span(last.elapsed_ms.saturating_sub(begin_ms)));
    // `1023 MiB ┤`; what has more digits is as wide as it is.
    let label_columns = width(&units::bytes(top)).max(8) as u16 + 2;
    if place.width < label_columns + 4 || place.height < 3 {
        return;
    }
    let dots =
        Rect { x: place.x + label_columns, width: place.width - label_columns, height: place.height - 1, ..place };
    axes(pen, place, dots, top, (begin_ms, end_ms));

    let mut grid = Grid::new(dots, top);
    let across = grid.across();
    grid.fill(&courses(history, |point| point.live_bytes, (begin_ms, end_ms), across));
    let filled = grid.clone();
    grid.line(&courses(history, |point| Some(point.rss_bytes), (begin_ms, end_ms), across));
    let style = pen.live();
    for row in 0..dots.height {
        for column in 0..dots.width {
            let cell = usize::from(row) * usize::from(dots.width) + usize::from(column);
            // A cell that the line runs through has the line's colour.
            let style = if grid.cells[cell] == filled.cells[cell] { style } else { PLAIN };
            write_dots(pen, Rect { x: dots.x + column, y: dots.y + row, width: 1, height: 1 }, grid.cells[cell], style);
        }
    }
}

fn write_dots(pen: &mut Pen<'_>, place: Rect, bits: u8, style: Style) {
    if bits != 0 {
        let c = char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' ');
        pen.write(place, c.encode_utf8(&mut [0; 4]), style);
    }
}

fn axes(pen: &mut Pen<'_>, place: Rect, dots: Rect, top: u64, (begin_ms, end_ms): (u64, u64)) {
    let steps = dots.height - 1;
    // So many parts that each begins at a line, and not closer than is readable.
    let parts = [4, 2, 3, 5].into_iter().find(|parts| steps.is_multiple_of(*parts) && steps / parts >= 3).unwrap_or(1);
    for row in 0..dots.height {
        let up = u64::from((steps - row) / (steps / parts));
        let label = (row % (steps / parts) == 0).then(|| (u128::from(top) * u128::from(up) / u128::from(parts)) as u64);
        let line = Rect { width: dots.x - place.x, ..line_of(place, row) };
        let text = label.map_or_else(|| "│".to_owned(), |bytes| format!("{} ┤", units::bytes(bytes)));
        pen.write_at(Side::Right, line, &text, DIM);
    }
    let times = Rect { y: dots.bottom(), height: 1, ..dots };
    let begin = if begin_ms == 0 { "0".to_owned() } else { units::duration(begin_ms) };
    let end = units::duration(end_ms);
    pen.write(times, &begin, DIM);
    if width(&begin) + width(&end) + 2 <= usize::from(times.width) {
        pen.write_at(Side::Right, times, &end, DIM);
    }
    let half = units::duration(begin_ms + (end_ms - begin_ms) / 2);
    let half_columns = width(&half) as u16;
    if times.width >= 60 {
        pen.write(Rect { x: times.x + (times.width - half_columns) / 2, width: half_columns, ..times }, &half, DIM);
    }
}

/// The least of some round sizes that is not below `bytes`, so that the scale stays for a while.
fn rounded_up(bytes: u64) -> u64 {
    const STEPS: [f64; 17] =
        [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 100.0, 200.0, 300.0, 512.0, 768.0];
    let (_, unit) = units::byte_unit(bytes as f64);
    let amount = bytes as f64 / unit;
    let step = STEPS.into_iter().find(|step| *step >= amount);
    // The next unit begins at 1024 of this one, and there is none above the last.
    (step.unwrap_or(1024.0) * unit).max(4.0).max(bytes as f64) as u64
}

/// The least of some round times that is not below `ms`, so that the scale stays for a while.
fn rounded_span(ms: u64) -> u64 {
    const SECONDS: [u64; 26] = [
        10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200, 10_800,
        14_400, 21_600, 28_800, 43_200, 64_800,
    ];
    const DAY_MS: u64 = 86_400_000;
    let short = SECONDS.into_iter().map(|s| s * 1000).find(|span| *span >= ms);
    short.unwrap_or_else(|| ms.div_ceil(DAY_MS).saturating_mul(DAY_MS))
}

/// What a figure did during one column of dots: least, most, and the last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Course {
    low: f64,
    high: f64,
    last: f64,
}

/// The courses of a figure for each column of dots; none in gaps and outside of what is known.
fn courses(
    history: &[HistoryPoint],
    figure: impl Fn(&HistoryPoint) -> Option<u64>,
    (begin_ms, end_ms): (u64, u64),
    columns: usize,
) -> Vec<Option<Course>> {
    let known: Vec<(f64, f64)> = history
        .iter()
        .filter_map(|point| Some((point.elapsed_ms.saturating_sub(begin_ms) as f64, figure(point)? as f64)))
        .collect();
    let gap_ms = gap_ms(&known);
    let column_ms = (end_ms - begin_ms) as f64 / columns.max(1) as f64;
    let course = |column: usize| {
        let (from, to) = (column as f64 * column_ms, (column + 1) as f64 * column_ms);
        let start = known.partition_point(|(ms, _)| *ms < from);
        let end = known.partition_point(|(ms, _)| *ms < to);
        if let Some(((_, last), rest)) = known[start..end.max(start)].split_last() {
            let low = rest.iter().map(|(_, figure)| *figure).fold(*last, f64::min);
            let high = rest.iter().map(|(_, figure)| *figure).fold(*last, f64::max);
            return Some(Course { low, high, last: *last });
        }
        let (before, after) = (known.get(start.checked_sub(1)?)?, known.get(start)?);
        if after.0 - before.0 > gap_ms {
            return None;
        }
        let share = ((from + to) / 2.0 - before.0) / (after.0 - before.0);
        let between = before.1 + (after.1 - before.1) * share.clamp(0.0, 1.0);
        Some(Course { low: between, high: between, last: between })
    };
    (0..columns).map(course).collect()
}

/// From which distance on two points are not joined.
fn gap_ms(known: &[(f64, f64)]) -> f64 {
    let mut distances: Vec<f64> = known.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).map_or(f64::INFINITY, |usual| usual * GAP as f64)
}

/// The dots of a chart.
#[derive(Clone)]
struct Grid {
    columns: usize,
    rows: usize,
    top: f64,
    cells: Vec<u8>,
}

impl Grid {
    fn new(place: Rect, top: u64) -> Self {
        let (columns, rows) = (usize::from(place.width), usize::from(place.height));
        Self { columns, rows, top: top.max(1) as f64, cells: vec![0; columns * rows] }
    }

    const fn across(&self) -> usize {
        self.columns * DOTS.0
    }

    /// The dot of a figure, counted from the bottom.
    fn dot(&self, figure: f64) -> usize {
        let highest = self.rows * DOTS.1 - 1;
        ((figure / self.top * highest as f64).round() as usize).min(highest)
    }

    fn set(&mut self, across: usize, low: usize, high: usize) {
        for up in low..=high {
            let down = self.rows * DOTS.1 - 1 - up;
            let cell = down / DOTS.1 * self.columns + across / DOTS.0;
            self.cells[cell] |= BITS[across % DOTS.0][down % DOTS.1];
        }
    }

    fn fill(&mut self, courses: &[Option<Course>]) {
        for (across, course) in courses.iter().enumerate() {
            if let Some(course) = course {
                self.set(across, 0, self.dot(course.last));
            }
        }
    }

    fn line(&mut self, courses: &[Option<Course>]) {
        let mut before = None;
        for (across, course) in courses.iter().enumerate() {
            if let Some(course) = course {
                let (low, high) = (self.dot(course.low), self.dot(course.high));
                // Joined with the column before.
                let reach = before.unwrap_or(low);
                let low = if reach + 1 < low { reach + 1 } else { low };
                let high = if reach > high + 1 { reach - 1 } else { high };
                self.set(across, low, high);
            }
            before = course.map(|course| self.dot(course.last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(elapsed_ms: u64, rss_bytes: u64) -> HistoryPoint {
        HistoryPoint { elapsed_ms, rss_bytes, live_bytes: None }
    }

    fn drawn(history: &[HistoryPoint], top: u64, end_ms: u64) -> Vec<String> {
        let mut grid = Grid::new(Rect::new(0, 0, 8, 2), top);
        let across = grid.across();
        grid.line(&courses(history, |point| Some(point.rss_bytes), (0, end_ms), across));
        let letter = |bits: &u8| char::from_u32(0x2800 + u32::from(*bits)).unwrap();
        grid.cells.chunks(8).map(|row| row.iter().map(letter).collect()).collect()
    }

    #[test]
    fn a_line_is_drawn_through_the_points() {
        let rising: Vec<HistoryPoint> = (0..=16).map(|at| point(at * 100, at * 10)).collect();
        let line = ["⠀⠀⠀⠀⣀⡠⠔⠊", "⣀⠤⠒⠉⠀⠀⠀⠀"];
        assert_eq!(drawn(&rising, 160, 1600), line);
    }

    #[test]
    fn a_jump_is_a_line_and_a_peak_between_dots_stays() {
        let steps: Vec<HistoryPoint> = (0..16).map(|at| point(at * 100, if at < 8 { 0 } else { 160 })).collect();
        assert_eq!(drawn(&steps, 160, 1600), ["⠀⠀⠀⠀⡏⠉⠉⠉", "⣀⣀⣀⣀⠇⠀⠀⠀"]);
        let peak: Vec<HistoryPoint> = (0..160).map(|at| point(at * 10, if at == 84 { 160 } else { 0 })).collect();
        assert_eq!(drawn(&peak, 160, 1600), ["⠀⠀⠀⠀⡇⠀⠀⠀", "⣀⣀⣀⣀⣇⣀⣀⣀"]);
    }

    #[test]
    fn a_gap_of_time_stays_empty() {
        let times = [0, 100, 200, 300, 1200, 1300, 1400, 1500];
        assert_eq!(drawn(&times.map(|at| point(at, 0)), 160, 1600), ["⠀⠀⠀⠀⠀⠀⠀⠀", "⣀⣀⠀⠀⠀⠀⣀⣀"]);
        assert_eq!(drawn(&[point(0, 160)], 160, 1600), ["⠁⠀⠀⠀⠀⠀⠀⠀", "⠀⠀⠀⠀⠀⠀⠀⠀"]);
        assert_eq!(drawn(&[], 160, 1600), ["⠀⠀⠀⠀⠀⠀⠀⠀", "⠀⠀⠀⠀⠀⠀⠀⠀"]);
    }

    #[test]
    fn scales_are_round_and_hold_what_there_is() {
        for (bytes, top) in [
            (0, "4 B"),
            (5, "6 B"),
            (900, "1.00 KiB"),
            (1 << 20, "1.00 MiB"),
            (1_100_000, "1.50 MiB"),
            (270_000_000, "300 MiB"),
            (1000 << 20, "1.00 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert!(rounded_up(bytes) >= bytes);
            assert_eq!(units::bytes(rounded_up(bytes)), top, "{bytes}");
        }
        for (ms, span) in [(0, "10.0 s"), (61_000, "1 min 30 s"), (90_000_000, "2 d")] {
            assert_eq!(units::duration(rounded_span(ms)), span);
        }
        assert!(rounded_span(u64::MAX) >= u64::MAX - 86_400_000);
    }
}
