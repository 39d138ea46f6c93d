//! What grew between two snapshots, per site.

use super::judge::PRIOR;
use super::judgement::{Evidence, Verdict};
use super::rules::{self, Looks};
use super::view::View;
use super::window::Window;
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
    /// Every site whose counters differ, largest growth of live bytes first. Within one recording growth weighs as much as
    /// it is likely to go on: what was built at one moment stands behind a leak of a tenth of its size.
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
    /// How likely its growth goes on, 0 to 1, by the birth generations of its blocks alone: of a site that grew within one
    /// recording, when enough generations were born between the snapshots.
    pub probability: Option<f64>,
    /// What they say.
    pub evidence: Option<Evidence>,
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

impl SiteChange {
    /// Growth by which sites are ranked: as much of it as is likely to go on.
    fn weight(&self) -> f64 {
        self.growth_bytes() as f64 * self.probability.unwrap_or(1.0)
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
            probability: None,
            evidence: None,
        });
    }
    for (site, _) in before.sites.iter().zip(&taken).filter(|(_, taken)| !**taken) {
        sites.push(SiteChange {
            key: site.key,
            stack: site.stack.clone(),
            scope: site.scope.clone(),
            baseline: Some(site.at(0)),
            current: None,
            probability: None,
            evidence: None,
        });
    }
    sites.retain(|site| site.baseline != site.current);
    if same_recording {
        weigh(&mut sites, before, current);
    }
    sites.sort_by(|a, b| b.weight().total_cmp(&a.weight()).then(a.key.cmp(&b.key)));
    Diff { same_recording, elapsed_ms, totals: (baseline.totals, current.totals), sites }
}

/// Of the time between two snapshots it is not known how many blocks were born when; only what is left of them.
fn in_own_words(evidence: Evidence, view: &View<'_>) -> Option<Evidence> {
    let found = view.persistence?;
    let generations = found.older.count + found.newer.count;
    let text = match evidence.verdict {
        Verdict::Leaking => format!(
            "blocks of {} of the {generations} generations born since are still live, older ones as well as newer ones",
            found.older.inhabited + found.newer.inhabited
        ),
        _ => format!("of the {generations} generations born since the older ones are gone, or hardly any came of late"),
    };
    Some(Evidence { text, ..evidence })
}

/// With fewer generations between the snapshots they tell nothing.
const GENERATIONS_MIN: usize = 6;

/// Looks at the survivors of the generations born between the two snapshots, which tell the history of that time.
fn weigh(sites: &mut [SiteChange], mut series: Series, current: &Snapshot) {
    series.push(current);
    let window = Window::of(&series);
    let looks = Looks::new(&window, 0.0);
    let by_key: HashMap<SiteKey, usize> =
        series.sites.iter().enumerate().map(|(place, site)| (site.key, place)).collect();
    let between = window.generations.iter().filter(|birth| birth.start >= -1e-9).count();
    if window.len() < 2 || between < GENERATIONS_MIN {
        return;
    }
    for change in sites.iter_mut().filter(|change| change.growth_bytes() > 0) {
        let view = by_key.get(&change.key).map(|place| View::new(&series, &window, &series.sites[*place], &looks));
        change.evidence = view.and_then(|view| in_own_words(rules::by_generations(&view)?, &view));
        let log_odds = PRIOR + change.evidence.as_ref().map_or(0.0, |evidence| evidence.log_odds);
        change.probability = Some(1.0 / (1.0 + (-log_odds).exp()));
    }
}
