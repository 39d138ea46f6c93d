//! Which lines of the screen belong to what. The answer comes first and stays longest as the screen gets smaller; then
//! the processes, the sites, and the chart.

use super::pen::Rect;

/// Fewer lines than this show no chart.
const CHART_LINES_MIN: u16 = 5;

/// Boxes one below the other; those without room are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) headline: Rect,
    pub(super) status: Rect,
    pub(super) processes: Rect,
    pub(super) charts: Rect,
    pub(super) sites: Rect,
    pub(super) notes: Rect,
    pub(super) footer: Rect,
}

/// Divides the screen, where there are so many processes, and sites that would take `sites_lines`.
pub(super) fn sections(screen: Rect, processes: usize, sites_lines: usize) -> Sections {
    // What is told in words has fixed lines, so that nothing jumps when it becomes longer.
    let (headline, notes) = match screen.height {
        0..20 => (1, 0),
        20..40 => (2, 2),
        _ => (2, 5),
    };
    let status = u16::from(screen.height >= 3);
    let footer = u16::from(screen.height >= 4);
    let rest = screen.height.saturating_sub(headline + status + notes + footer);
    let processes = lines(processes.max(1) + 1).min((rest / 3).max(2)).min(rest);
    let rest = rest - processes;
    let sites = match rest {
        0..10 => lines(sites_lines).min(rest),
        _ => lines(sites_lines).min(rest * 9 / 20).max(3),
    };
    let charts = if rest - sites < CHART_LINES_MIN { 0 } else { rest - sites };

    let mut y = screen.y;
    let mut take = |height: u16| {
        let height = height.min(screen.bottom() - y);
        y += height;
        Rect { y: y - height, height, ..screen }
    };
    Sections {
        headline: take(headline),
        status: take(status),
        processes: take(processes),
        charts: take(charts),
        sites: take(rest - charts),
        notes: take(notes),
        footer: take(footer),
    }
}

/// The charts: the selected process, and small ones of up to `others` beside it where that is readable.
pub(super) fn charts(place: Rect, others: usize) -> (Rect, Vec<Rect>) {
    const SMALL: (u16, u16) = (36, 7);
    const LARGE_COLUMNS_MIN: u16 = 80;
    let columns = (place.width.saturating_sub(LARGE_COLUMNS_MIN) / SMALL.0).min(2);
    let rows = place.height / SMALL.1;
    if others == 0 || columns == 0 || rows == 0 {
        return (place, Vec::new());
    }
    let needed = lines(others).min(columns * rows);
    let columns = columns.min(needed.div_ceil(rows));
    let rows = rows.min(needed.div_ceil(columns));
    // Two columns of small charts take a half, one a third.
    let small_columns = place.width / if columns == 2 { 4 } else { 3 };
    let large = Rect { width: place.width - small_columns * columns - 1, ..place };
    let small = |n: u16| Rect {
        x: large.right() + 1 + n % columns * small_columns,
        y: place.y + n / columns * (place.height / rows),
        width: small_columns - u16::from(n % columns + 1 < columns),
        height: place.height / rows,
    };
    (large, (0..needed.min(columns * rows)).map(small).collect())
}

fn lines(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_lie_in_the_screen_and_do_not_meet() {
        for (width, height) in (0..=220).step_by(11).flat_map(|width| (0..=65).map(move |height| (width, height))) {
            for (processes, sites) in [(0, 0), (1, 3), (2, 40), (200, 5)] {
                let screen = Rect::new(0, 0, width, height);
                let all = sections(screen, processes, sites);
                let Sections { headline, status, processes: table, charts: place, sites, notes, footer } = all;
                let mut y = 0;
                for section in [headline, status, table, place, sites, notes, footer] {
                    assert_eq!(section.y, y, "{screen}: {all:?}");
                    y += section.height;
                }
                assert!(y <= height, "{screen}: {all:?}");
                let (large, mut boxes) = charts(place, processes.saturating_sub(1));
                boxes.push(large);
                for (at, one) in boxes.iter().enumerate() {
                    assert_eq!(one.intersection(place), *one, "{screen}");
                    assert!(boxes[..at].iter().all(|other| !other.intersects(*one)), "{screen}: {boxes:?}");
                }
            }
        }
    }

    #[test]
    fn the_answer_stays_longest() {
        for (height, shown) in [(1, "h"), (3, "hsp"), (5, "hspf"), (9, "hspif"), (24, "hspcinf")] {
            let all = sections(Rect::new(0, 0, 80, height), 2, 10);
            let Sections { headline, status, processes, charts, sites, notes, footer } = all;
            let boxes = [headline, status, processes, charts, sites, notes, footer];
            let found: String =
                boxes.iter().zip("hspcinf".chars()).filter(|(b, _)| b.height > 0).map(|(_, c)| c).collect();
            assert_eq!(found, shown, "{height} lines");
        }
    }
}
