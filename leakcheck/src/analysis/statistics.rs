//! The small statistics that rules share. Times in seconds; every function is total.

/// The middle value; 0 for none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the fraction `at` of `values` lies; 0 for none.
pub(super) fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * at).round() as usize).copied().unwrap_or(0.0)
}

/// A slope with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slope {
    pub(super) estimate: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Theil and Sen's slope: the median of the slopes of all pairs, with the interval from the rank order of Kendall's
/// statistic (Sen 1968). `None` with fewer than four points or no spread in `x`.
pub(super) fn theil_sen(x: &[f64], y: &[f64]) -> Option<Slope> {
    /// Pairs grow with the square of the points; beyond this, evenly chosen points stand for all.
    const POINTS_MAX: usize = 60;
    let step = x.len().div_ceil(POINTS_MAX).max(1);
    let points: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).step_by(step).collect();
    let n = points.len();
    if n < 4 {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::with_capacity(n * (n - 1) / 2);
    for (place, (x1, y1)) in points.iter().enumerate() {
        slopes.extend(points[place + 1..].iter().filter(|(x2, _)| x2 > x1).map(|(x2, y2)| (y2 - y1) / (x2 - x1)));
    }
    if slopes.len() < 3 {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let count = slopes.len() as f64;
    let points = n as f64;
    let spread = 1.96 * (points * (points - 1.0) * (2.0 * points + 5.0) / 18.0).sqrt();
    let rank = |place: f64| slopes[(place.max(0.0) as usize).min(slopes.len() - 1)];
    Some(Slope {
        estimate: rank(count / 2.0),
        low: rank(((count - spread) / 2.0).floor()),
        high: rank(((count + spread) / 2.0).ceil()),
    })
}

/// Sum of squared residuals of the best straight line.
pub(super) fn line_residuals(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().max(1) as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xx += (x - mean_x).powi(2);
        xy += (x - mean_x) * (y - mean_y);
        yy += (y - mean_y).powi(2);
    }
    if xx > 0.0 { (yy - xy * xy / xx).max(0.0) } else { yy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_ignores_outliers_and_knows_its_uncertainty() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let mut y: Vec<f64> =
            x.iter().map(|x| 3.0 * x + if (*x as u32).is_multiple_of(2) { 1.0 } else { -1.0 }).collect();
        y[7] = 1e6;
        let slope = theil_sen(&x, &y).unwrap();
        assert!((slope.estimate - 3.0).abs() < 0.05, "{slope:?}");
        assert!(slope.low > 2.8 && slope.high < 3.2, "{slope:?}");
        assert_eq!(theil_sen(&x[..3], &y[..3]), None);
        assert_eq!(theil_sen(&[1.0; 9], &[2.0; 9]), None);
    }

    #[test]
    fn residuals_of_a_line_are_nothing() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let line: Vec<f64> = x.iter().map(|x| 5.0 - 2.0 * x).collect();
        assert!(line_residuals(&x, &line) < 1e-9);
        assert!(line_residuals(&x, &[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]) > 2.0);
    }
}
