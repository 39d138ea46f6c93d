//! From seconds and bytes to the numbers on the axes.

use super::panel::Panel;
use crate::units;
use std::ops::Range;

/// The axes of one panel.
pub(super) struct Scales {
    pub(super) time_unit: &'static str,
    /// Seconds in the unit of time.
    pub(super) time_size: f64,
    /// What is shown, in that unit.
    pub(super) times: Range<f64>,
    pub(super) left: Scale,
    /// The axis of resident memory, where it has one of its own.
    pub(super) right: Option<Scale>,
}

/// A vertical axis.
pub(super) struct Scale {
    pub(super) unit: &'static str,
    /// Bytes in the unit.
    size: f64,
    /// The upper end, in that unit.
    pub(super) top: f64,
}

/// Resident memory so many times as large as the heap would press it flat.
const TIMES_TOO_LARGE: f64 = 3.0;

impl Scales {
    pub(super) fn of(panel: &Panel) -> Self {
        let last = panel.times.last().copied().unwrap_or(0.0);
        let (time_unit, time_size) = match last {
            ..180.0 => ("s", 1.0),
            ..10_800.0 => ("min", 60.0),
            ..259_200.0 => ("h", 3600.0),
            _ => ("days", 86_400.0),
        };
        let first = panel.live.first().map_or(0.0, |point| point.0) / time_size;
        let last = last / time_size;
        // A single moment gets some room.
        let times = first..if last > first { last } else { first + 1.0 };
        let stacked = (0..panel.times.len()).map(|place| panel.layers.iter().map(|layer| layer.live[place]).sum());
        let live = highest(&panel.live).max(stacked.fold(0.0, f64::max));
        let resident = highest(&panel.resident);
        let apart = live > 0.0 && resident > TIMES_TOO_LARGE * live;
        Self {
            time_unit,
            time_size,
            times,
            left: Scale::up_to(if apart { live } else { live.max(resident) }),
            right: apart.then(|| Scale::up_to(resident)),
        }
    }

    /// Points in seconds and bytes as points of the chart; a single one becomes a line over the whole width.
    pub(super) fn line(&self, points: &[(f64, f64)], scale: &Scale) -> Vec<(f64, f64)> {
        match points {
            [(_, bytes)] => vec![(self.times.start, bytes / scale.size), (self.times.end, bytes / scale.size)],
            _ => points.iter().map(|(seconds, bytes)| (seconds / self.time_size, bytes / scale.size)).collect(),
        }
    }
}

impl Scale {
    fn up_to(bytes: f64) -> Self {
        const HEADROOM: f64 = 1.08;
        let (unit, size) = units::byte_unit(bytes);
        Self { unit, size, top: if bytes > 0.0 { bytes / size * HEADROOM } else { 1.0 } }
    }
}

fn highest(line: &[(f64, f64)]) -> f64 {
    line.iter().map(|point| point.1).fold(0.0, f64::max)
}

/// Axis labels without needless zeros.
pub(super) fn axis_number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::axis_number;

    #[test]
    fn labels_have_no_needless_zeros() {
        for (value, text) in
            [(0.0, "0"), (-0.0, "0"), (10.0, "10"), (0.5, "0.5"), (1234.5678, "1234.568"), (100.0, "100")]
        {
            assert_eq!(axis_number(value), text);
        }
    }
}
