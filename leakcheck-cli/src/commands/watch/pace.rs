//! How often what is dear is done as a watch lasts: in a day hardly more often than in an hour.
//!
//! Samples are taken at the user's interval all the time, and go into the timeline; this is about snapshots and judgements.

use std::time::Duration;

/// So many in the time so far, if they had been at this distance all along: after a day one a minute, and about a thousand in
/// all before that.
const SO_FAR: u32 = 200;
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The pause before the next, when the watch has lasted so long.
pub(super) fn pause(lasted: Duration) -> Duration {
    (lasted / SO_FAR).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_few_thousand() {
        let (mut now, mut count) = (Duration::ZERO, 0);
        let mut after = |span: Duration| {
            while now < span {
                now += pause(now).max(Duration::from_secs(1));
                count += 1;
            }
            count
        };
        assert_eq!(after(Duration::from_secs(200)), 200, "at first each sample");
        assert!((650..850).contains(&after(Duration::from_secs(3600))));
        assert!(after(Duration::from_secs(86_400)) < 2400);
    }
}
