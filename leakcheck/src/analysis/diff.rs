//! What grew between two snapshots, per site.

use crate::model::{Amount, Counters, FoldedStack, Series, SiteKey, Snapshot};
use std::collections::HashMap;

/// How the sites of two snapshots compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// Whether both snapshots are of one recording of one process; otherwise cumulative counts cannot be subtracted.
    pub same_recording: bool,
    /// Milliseconds between the snapshots, by the wall clock for different recordings.
    pub elapsed_ms: u64,
    /// All sites together.
    pub totals: (Counters, Counters),
    /// Every site whose counters differ, largest growth of live bytes first.
    pub sites: Vec<SiteChange>,
}

/// One site in two snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteChange {
    /// The site's key in the current snapshot, or in the baseline when it is gone.
    pub key: SiteKey,
    /// Its folded stack.
    pub stack: FoldedStack,
    /// Its scope.
    pub scope: Option<String>,
    /// Counters in the baseline; `None` for a new site.
    pub baseline: Option<Counters>,
    /// Counters in the current snapshot; `None` for a site that is gone.
    pub current: Option<Counters>,
}

impl SiteChange {
    /// Live in the baseline.
    #[must_use]
    pub fn live_before(&self) -> Amount {
        self.baseline.map_or_else(Amount::default, |c| c.live())
    }

    /// Live in the current snapshot.
    #[must_use]
    pub fn live_after(&self) -> Amount {
        self.current.map_or_else(Amount::default, |c| c.live())
    }

    /// Growth of live bytes; negative when it shrank.
    #[must_use]
    pub fn growth_bytes(&self) -> i64 {
        difference(self.live_after().bytes, self.live_before().bytes)
    }

    /// Growth of live blocks; negative when it shrank.
    #[must_use]
    pub fn growth_blocks(&self) -> i64 {
        difference(self.live_after().blocks, self.live_before().blocks)
    }
}

fn difference(after: u64, before: u64) -> i64 {
    i64::try_from(i128::from(after) - i128::from(before)).unwrap_or(i64::MAX)
}

/// Compares two snapshots. Sites are matched by their whole key first, then, for other builds, by functions alone.
#[must_use]
pub fn diff(baseline: &Snapshot, current: &Snapshot) -> Diff {
    let (before, after) = (Series::new(baseline), Series::new(current));
    let same_recording = before.accepts(current);
    let elapsed_ms = if same_recording {
        current.elapsed_ms.saturating_sub(baseline.elapsed_ms)
    } else {
        current.taken_unix_ms.saturating_sub(baseline.taken_unix_ms)
    };
    let mut by_key: HashMap<SiteKey, usize> = HashMap::new();
    let mut by_code: HashMap<u64, Vec<usize>> = HashMap::new();
    for (place, site) in before.sites.iter().enumerate() {
        by_key.insert(site.key, place);
        by_code.entry(site.key.code).or_default().push(place);
    }
    let mut partner: Vec<Option<usize>> = after.sites.iter().map(|site| by_key.get(&site.key).copied()).collect();
    let mut taken: Vec<bool> = vec![false; before.sites.len()];
    for place in partner.iter().flatten() {
        taken[*place] = true;
    }
    for (site, partner) in after.sites.iter().zip(&mut partner) {
        if partner.is_none() {
            let candidates = by_code.get(&site.key.code).map_or(&[][..], Vec::as_slice);
            *partner = candidates.iter().copied().find(|place| !taken[*place]);
            if let Some(place) = *partner {
                taken[place] = true;
            }
        }
    }
    let mut sites: Vec<SiteChange> = Vec::new();
    for (site, partner) in after.sites.iter().zip(&partner) {
        sites.push(SiteChange {
            key: site.key,
            stack: site.stack.clone(),
            scope: site.scope.clone(),
            baseline: partner.map(|place| before.sites[place].at(0)),
            current: Some(site.at(0)),
        });
    }
    for (site, _) in before.sites.iter().zip(&taken).filter(|(_, taken)| !**taken) {
        sites.push(SiteChange {
            key: site.key,
            stack: site.stack.clone(),
            scope: site.scope.clone(),
            baseline: Some(site.at(0)),
            current: None,
        });
    }
    sites.retain(|site| site.baseline != site.current);
    sites.sort_by_key(|site| (std::cmp::Reverse(site.growth_bytes()), site.key));
    Diff { same_recording, elapsed_ms, totals: (baseline.totals, current.totals), sites }
}
