//! A judged process as a watcher shows it.

use super::site_label::SiteLabel;
use super::watch_view::SiteView;
use super::{Judged, growth};
use leakcheck::analysis::{Finding, Judgement, Resource, Verdict};
use leakcheck::model::SiteSeries;
use std::collections::HashSet;

/// Moments of a site that are drawn.
const MOMENTS_MAX: usize = 64;
const LABEL_LETTERS_MAX: usize = 300;

/// The sites that grow most, the worst first, and how many of all sites leak, may leak and do not.
pub(crate) fn watched_sites(judged: &Judged, most: usize) -> (Vec<SiteView>, [u64; 3]) {
    let findings = &judged.judgement.findings;
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (leaking, inconclusive) = (count(Verdict::Leaking), count(Verdict::Inconclusive));
    let bounded = (judged.judgement.sites_judged as u64).saturating_sub(leaking + inconclusive);
    let series = &judged.series;
    let mut views: Vec<SiteView> = Vec::new();
    let mut shown = HashSet::new();
    for finding in findings.iter().take(most) {
        let site = series.sites.iter().find(|site| site.key == finding.key && site.scope == finding.scope);
        shown.insert((finding.key, finding.scope.clone()));
        views.push(SiteView {
            label: label(&finding.stack, finding.scope.as_deref()),
            verdict: finding.verdict,
            live_bytes: finding.live.bytes,
            live_blocks: finding.live.blocks,
            rate_bytes_per_second: rate(finding),
            live_over_time: site.map_or_else(Vec::new, |site| live_over_time(judged, site)),
        });
    }
    views.extend(growing(judged, most.saturating_sub(views.len()), &shown));
    (views, [leaking, inconclusive, bounded])
}

fn rate(finding: &Finding) -> Option<f64> {
    finding.rate_bytes_per_second.map(|rate| rate.estimate)
}

fn label(stack: &leakcheck::model::FoldedStack, scope: Option<&str>) -> String {
    SiteLabel::of_site(stack, scope).fitted(|text| text.chars().count() <= LABEL_LETTERS_MAX)
}

/// Sites that nothing was found of yet, by what they grew since the first moment.
fn growing<'a>(
    judged: &'a Judged,
    most: usize,
    shown: &HashSet<(leakcheck::model::SiteKey, Option<String>)>,
) -> impl Iterator<Item = SiteView> + use<'a> {
    let series = &judged.series;
    let last = series.moments.len().saturating_sub(1);
    let judged_at_all = judged.judgement.sites_judged > 0;
    let mut others: Vec<(i64, &SiteSeries)> = series
        .sites
        .iter()
        .filter(|site| !shown.contains(&(site.key, site.scope.clone())))
        .map(|site| (growth(site.at(0).live().bytes, site.at(last).live().bytes), site))
        .collect();
    others.sort_by_key(|(growth, site)| std::cmp::Reverse((*growth, site.at(last).live().bytes)));
    others.into_iter().take(most).map(move |(_, site)| {
        let live = site.at(last).live();
        SiteView {
            label: label(&site.stack, site.scope.as_deref()),
            // What was judged and is not among the findings is at rest.
            verdict: if judged_at_all { Verdict::Bounded } else { Verdict::Inconclusive },
            live_bytes: live.bytes,
            live_blocks: live.blocks,
            rate_bytes_per_second: None,
            live_over_time: live_over_time(judged, site),
        }
    })
}

fn live_over_time(judged: &Judged, site: &SiteSeries) -> Vec<u64> {
    let moments = judged.series.moments.len();
    let shown = moments.min(MOMENTS_MAX);
    (0..shown).map(|place| site.at(place * (moments - 1) / (shown - 1).max(1)).live().bytes).collect()
}

/// How fast a process grows, in bytes per second: what leaks, else what may leak; where that is known.
pub(crate) fn growth_rate(judgement: &Judgement) -> Option<f64> {
    let sum = |verdict: Verdict| {
        let rates: Vec<f64> = judgement.findings.iter().filter(|one| one.verdict == verdict).filter_map(rate).collect();
        (!rates.is_empty()).then(|| rates.iter().sum::<f64>())
    };
    let resources = &judgement.resources;
    let memory = resources.iter().find(|one| one.resource == Resource::Memory && one.verdict != Verdict::Bounded);
    let memory = memory.and_then(|one| Some(one.rate_per_second?.estimate));
    sum(Verdict::Leaking).or_else(|| sum(Verdict::Inconclusive)).or(memory)
}

/// Findings on other things than sites, one sentence each.
pub(crate) fn remarks(judgement: &Judgement) -> Vec<String> {
    let resources = judgement.resources.iter().filter(|one| one.verdict != Verdict::Bounded).map(|one| &one.text);
    resources.chain(judgement.resident.iter().map(|growth| &growth.text)).cloned().collect()
}
