//! Memory of a process over the whole watch, in few points.

use crate::render::HistoryPoint;
use crate::units;
use leakcheck::model::TimelinePoint;
use std::time::Duration;

/// More are thinned out.
const POINTS_MAX: usize = 400;
/// The same of a timeline, which is for a picture: half a megabyte.
const TIMELINE_MAX: usize = 20_000;

/// Points at even distances that grow with time.
#[derive(Debug, Default)]
pub(super) struct History {
    points: Vec<HistoryPoint>,
    /// Time between points that stay, in milliseconds.
    apart_ms: u64,
}

impl History {
    /// Adds a point. Of points that lie too close together the last one stays, so that the newest is always there.
    pub(super) fn push(&mut self, elapsed: Duration, rss_bytes: u64, live_bytes: Option<u64>) {
        let elapsed_ms = units::whole_ms(elapsed);
        let point = HistoryPoint { elapsed_ms, rss_bytes, live_bytes };
        if let [.., before, last] = self.points.as_mut_slice()
            && last.elapsed_ms - before.elapsed_ms < self.apart_ms
        {
            *last = point;
            return;
        }
        self.points.push(point);
        if self.points.len() > POINTS_MAX {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            let span_ms = elapsed_ms - self.points.first().map_or(0, |first| first.elapsed_ms);
            self.apart_ms = span_ms / self.points.len() as u64;
        }
    }

    pub(super) fn points(&self) -> &[HistoryPoint] {
        &self.points
    }
}

/// Leaves every other point of a timeline that has become too long, the last one always. The files have more.
pub(super) fn keep_short(timeline: &mut Vec<TimelinePoint>) {
    if timeline.len() > TIMELINE_MAX {
        let mut stays = timeline.len().is_multiple_of(2);
        timeline.retain(|_| {
            stays = !stays;
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_short_even_and_up_to_date_over_days() {
        let mut history = History::default();
        for second in 0..400_000_u64 {
            history.push(Duration::from_secs(second), second, None);
            assert!(history.points().len() <= POINTS_MAX);
            assert_eq!(history.points().last().unwrap().rss_bytes, second);
        }
        let points = history.points();
        assert_eq!(points[0].elapsed_ms, 0);
        assert!(points.len() > POINTS_MAX / 4);
        let widest = points.windows(2).map(|pair| pair[1].elapsed_ms - pair[0].elapsed_ms).max().unwrap();
        assert!(widest < 400_000_000 / 50, "{widest}");
    }

    #[test]
    fn a_timeline_stays_short_and_up_to_date() {
        let mut timeline = Vec::new();
        for second in 0..400_000_u64 {
            timeline.push(TimelinePoint { elapsed_ms: second * 1000, live_bytes: 0, rss_bytes: 0 });
            keep_short(&mut timeline);
            assert!(timeline.len() <= TIMELINE_MAX);
            assert_eq!(timeline.last().unwrap().elapsed_ms, second * 1000);
        }
        assert!(timeline.len() > TIMELINE_MAX / 4);
        assert!(timeline.windows(2).all(|pair| pair[0].elapsed_ms < pair[1].elapsed_ms));
    }
}
