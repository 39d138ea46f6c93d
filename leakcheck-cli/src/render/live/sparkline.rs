//! A course of figures in one line of text, drawn from zero so that what is nearly flat looks flat.

use super::super::watch_view::HistoryPoint;

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The figures from left to right over `columns`; empty when there are none.
pub(super) fn sparkline(figures: &[u64], columns: usize) -> String {
    let highest = figures.iter().copied().max().unwrap_or(0);
    let height = |figure: u64| match highest {
        0 => 0,
        _ => (figure as f64 / highest as f64 * (HEIGHTS.len() - 1) as f64).round() as usize,
    };
    let columns = if figures.is_empty() { 0 } else { columns };
    // The last figure of those that share a column: the newest is always shown.
    (1..=columns).map(|column| HEIGHTS[height(figures[(column * figures.len()).div_ceil(columns) - 1])]).collect()
}

/// Resident memory of a process, at evenly spread times.
pub(super) fn resident_over_time(history: &[HistoryPoint], columns: usize) -> String {
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return String::new() };
    let span = u128::from(last.elapsed_ms.saturating_sub(first.elapsed_ms));
    let at = |column: usize| {
        let until = u128::from(first.elapsed_ms) + span * (column as u128 + 1) / columns as u128;
        let next = history.partition_point(|point| u128::from(point.elapsed_ms) <= until);
        history[next.saturating_sub(1)].rss_bytes
    };
    let figures: Vec<u64> = (0..columns).map(at).collect();
    sparkline(&figures, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_drawn_from_zero() {
        for (figures, columns, line) in [
            (&[][..], 5, ""),
            (&[7], 3, "███"),
            (&[0, 0], 2, "▁▁"),
            (&[100, 101, 102, 103], 4, "████"),
            (&[0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
            (&[0, 1, 2, 3, 4, 5, 6, 7], 4, "▂▄▆█"),
            (&[0, u64::MAX], 4, "▁▁██"),
            (&[1, 2], 0, ""),
        ] {
            assert_eq!(sparkline(figures, columns), line, "{figures:?}");
        }
    }

    #[test]
    fn a_gap_of_time_keeps_the_figure_before_it() {
        let point = |elapsed_ms, rss_bytes| HistoryPoint { elapsed_ms, rss_bytes, live_bytes: None };
        let history = [point(0, 0), point(1000, 4), point(9000, 8), point(10_000, 8)];
        assert_eq!(resident_over_time(&history, 10), "▅▅▅▅▅▅▅▅██");
        assert_eq!(resident_over_time(&[], 10), "");
        assert_eq!(resident_over_time(&history[..1], 2), "▁▁");
    }
}
