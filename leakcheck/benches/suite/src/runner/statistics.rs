//! Medians and spreads of a few figures.

/// The median; the mean of the middle two of an even number, and 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// The least and the greatest, 0 of none.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let sorted = sorted(values);
    (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expected_median: f64, expected_range: (f64, f64)) {
        assert_eq!(median(values), expected_median, "{values:?}");
        assert_eq!(range(values), expected_range, "{values:?}");
    }

    #[test]
    fn medians_and_ranges() {
        check(&[], 0.0, (0.0, 0.0));
        check(&[3.0], 3.0, (3.0, 3.0));
        check(&[5.0, 1.0], 3.0, (1.0, 5.0));
        check(&[9.0, 1.0, 2.0], 2.0, (1.0, 9.0));
        check(&[4.0, 1.0, 3.0, 100.0], 3.5, (1.0, 100.0));
    }
}
