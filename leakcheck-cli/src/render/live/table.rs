//! Columns that fit the room: the less important ones go first, and what is left over goes to those that can use it.

use super::pen::{BOLD, DIM, Pen, Rect, Side, Style, width};

/// One column, before it is known how wide it may be.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) side: Side,
    /// Columns of the screen it takes at least.
    pub(super) width: usize,
    /// What it can use at most.
    pub(super) width_max: usize,
    /// Small numbers stay longest, and grow first.
    pub(super) rank: u8,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Which column it is.
    pub(super) column: usize,
    x: u16,
    pub(super) width: usize,
}

/// The columns that fit into `room`, in their order.
pub(super) fn arranged(columns: &[Column], room: usize) -> Vec<Slot> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|column| columns[*column].rank);
    let mut widths = vec![None; columns.len()];
    let mut left = room + 1;
    for column in &by_rank {
        let needed = columns[*column].width + 1;
        if needed <= left {
            widths[*column] = Some(columns[*column].width);
            left -= needed;
        }
    }
    for column in by_rank {
        if let Some(width) = &mut widths[column] {
            let more = columns[column].width_max.saturating_sub(*width).min(left);
            *width += more;
            left -= more;
        }
    }
    let mut x = 0;
    let slots = widths.into_iter().enumerate().filter_map(|(column, width)| {
        let slot = Slot { column, x, width: width? };
        x += slot.width as u16 + 1;
        Some(slot)
    });
    slots.collect()
}

/// The titles above the columns.
pub(super) fn titles(pen: &mut Pen<'_>, place: Rect, columns: &[Column], slots: &[Slot]) {
    for slot in slots {
        let column = &columns[slot.column];
        pen.write_at(column.side, slot.place(place), column.title, DIM);
    }
}

/// One cell. A number without room is left out: one that is cut is another number.
pub(super) fn cell(pen: &mut Pen<'_>, line: Rect, column: &Column, slot: Slot, text: &str, style: Style) {
    let text = if column.side == Side::Right && width(text) > slot.width { "…" } else { text };
    pen.write_at(column.side, slot.place(line), text, style);
}

impl Slot {
    fn place(self, line: Rect) -> Rect {
        let x = line.x.saturating_add(self.x).min(line.right());
        Rect { x, width: (self.width as u16).min(line.right() - x), ..line }
    }
}

/// The style of a row that is picked out.
pub(super) const fn row_style(picked: bool, dim: bool) -> Style {
    match (picked, dim) {
        (true, _) => BOLD,
        (_, true) => DIM,
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn important_columns_stay_and_grow_first() {
        let column = |width, width_max, rank| Column { title: "", side: Side::Left, width, width_max, rank };
        let columns = [column(5, 5, 1), column(4, 10, 0), column(8, 20, 2)];
        for (room, expected) in [
            (0, vec![]),
            (3, vec![]),
            (4, vec![(1, 0, 4)]),
            (9, vec![(1, 0, 9)]),
            (10, vec![(0, 0, 5), (1, 6, 4)]),
            (19, vec![(0, 0, 5), (1, 6, 4), (2, 11, 8)]),
            (27, vec![(0, 0, 5), (1, 6, 10), (2, 17, 10)]),
            (90, vec![(0, 0, 5), (1, 6, 10), (2, 17, 20)]),
        ] {
            let slots: Vec<_> =
                arranged(&columns, room).into_iter().map(|slot| (slot.column, slot.x, slot.width)).collect();
            assert_eq!(slots, expected, "{room}");
        }
    }
}
