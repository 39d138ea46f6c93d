//! What one panel shows, as numbers and words: the data of the picture before anything is drawn.

use crate::render::headline::verdict_in_words;
use crate::render::site_label::SiteLabel;
use crate::render::standing::pace_in_words;
use crate::render::{Judged, growth, program_name};
use crate::units;
use leakcheck::analysis::{Finding, Verdict};
use leakcheck::model::{Reason, Series, SiteKey};
use std::cmp::Reverse;

/// One process over time. Times are in seconds since the recording began, sizes in bytes.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// What time is counted from.
    pub(super) since: &'static str,
    /// The moments drawn.
    pub(super) times: Vec<f64>,
    /// The sites drawn, from the bottom up; each as tall as `times` is long.
    pub(super) layers: Vec<Layer>,
    /// Live memory of all sites.
    pub(super) live: Vec<(f64, f64)>,
    /// Resident memory, where the kernel told.
    pub(super) resident: Vec<(f64, f64)>,
    /// Named checkpoints.
    pub(super) checkpoints: Vec<(f64, String)>,
}

/// The live memory of one site, or of the rest.
pub(super) struct Layer {
    pub(super) label: SiteLabel,
    pub(super) kind: LayerKind,
    pub(super) live: Vec<f64>,
    /// Words for the legend: `leaking, 1.2 MiB/s`.
    pub(super) remark: String,
}

/// How a layer is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// A site that leaks, with its rank among those.
    Leaking(usize),
    /// A site that does not, or that is not known to, with its rank among those.
    Other(usize),
    /// All other sites.
    Rest,
}

impl Panel {
    /// At most `top` sites are drawn, and about as many moments as fit into `width` pixels.
    pub(super) fn new(judged: &Judged, top: usize, width: u32) -> Self {
        let series = &judged.series;
        let moments = moments_drawn(series, width as usize);
        let seconds = |moment: usize| series.moments[moment].elapsed_ms as f64 / 1000.0;
        let totals: Vec<f64> = moments.iter().map(|m| series.moments[*m].totals.live().bytes as f64).collect();
        let mut layers = site_layers(judged, top, &moments);
        let mut rest = totals.clone();
        for layer in &layers {
            for (rest, live) in rest.iter_mut().zip(&layer.live) {
                *rest = (*rest - live).max(0.0);
            }
        }
        let others = series.sites.len() - layers.len();
        if others > 0 {
            let name = if layers.is_empty() { "all sites".to_owned() } else { format!("{others} other sites") };
            let label = SiteLabel { name, place: String::new() };
            layers.insert(0, Layer { label, kind: LayerKind::Rest, live: rest, remark: String::new() });
        }
        let times: Vec<f64> = moments.iter().map(|moment| seconds(*moment)).collect();
        let (live, resident) = lines(series, &moments, width as usize);
        Self {
            title: title(judged),
            subtitle: subtitle(judged),
            since: if judged.is_recorded() { "since the recording began" } else { "since the start" },
            times,
            layers,
            live,
            resident,
            checkpoints: series
                .moments
                .iter()
                .filter(|moment| moment.reason == Reason::Checkpoint)
                .map(|moment| (moment.elapsed_ms as f64 / 1000.0, moment.label.clone().unwrap_or_default()))
                .collect(),
        }
    }
}

/// Places of the moments to draw. At exit much is freed that was live all along; where there is enough else to see,
/// that last drop is left out. Of more moments than pixels, those with most live memory are kept.
fn moments_drawn(series: &Series, width: usize) -> Vec<usize> {
    const OTHERS_ENOUGH: usize = 3;
    let running: Vec<usize> =
        (0..series.moments.len()).filter(|moment| series.moments[*moment].reason != Reason::Exit).collect();
    let all = if running.len() >= OTHERS_ENOUGH { running } else { (0..series.moments.len()).collect() };
    let live = |moment: &usize| series.moments[*moment].totals.live().bytes;
    thinned(&all, width, |chunk| chunk.iter().copied().max_by_key(live))
}

/// About `most` of `all`: the first, the last, and one chosen of each stretch between.
fn thinned<T: Copy>(all: &[T], most: usize, choose: impl Fn(&[T]) -> Option<T>) -> Vec<T> {
    let most = most.max(2);
    let [first, between @ .., last] = all else { return all.to_vec() };
    if all.len() <= most {
        return all.to_vec();
    }
    let stretch = between.len().div_ceil(most);
    let chosen = between.chunks(stretch).filter_map(choose);
    std::iter::once(*first).chain(chosen).chain([*last]).collect()
}

/// A site smaller than this part of the whole is too thin to see.
const THIN: u64 = 200;

/// Sites that leak first, by their rate; then those that grew most.
fn site_layers(judged: &Judged, top: usize, moments: &[usize]) -> Vec<Layer> {
    let series = &judged.series;
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Vec::new() };
    let findings = &judged.judgement.findings;
    let finding = |key: SiteKey| findings.iter().position(|finding| finding.key == key);
    let highest = moments.iter().map(|moment| series.moments[*moment].totals.live().bytes).max().unwrap_or(0);
    let mut ranked: Vec<Ranked> = series
        .sites
        .iter()
        .enumerate()
        .map(|(place, site)| {
            let (before, after) = (site.at(*first).live().bytes, site.at(*last).live().bytes);
            let finding = finding(site.key);
            Ranked {
                leaking: finding.filter(|place| findings[*place].verdict == Verdict::Leaking),
                growth: growth(before, after),
                live: before.max(after),
                place,
                finding,
            }
        })
        .filter(|site| site.leaking.is_some() || site.live > highest / THIN)
        .collect();
    // Findings are in order already, the fastest leak first.
    ranked.sort_by_key(|site| (site.leaking.is_none(), site.leaking, Reverse((site.growth, site.live)), site.place));
    ranked.truncate(top);
    let leaking = ranked.iter().filter(|site| site.leaking.is_some()).count();
    let mut layers: Vec<Layer> = ranked
        .into_iter()
        .enumerate()
        .map(|(rank, Ranked { growth, place, finding, .. })| {
            let site = &series.sites[place];
            Layer {
                label: SiteLabel::of_site(&site.stack, site.scope.as_deref()),
                kind: if rank < leaking { LayerKind::Leaking(rank) } else { LayerKind::Other(rank - leaking) },
                live: moments.iter().map(|moment| site.at(*moment).live().bytes as f64).collect(),
                remark: remark(finding.map(|place| &findings[place]), growth),
            }
        })
        .collect();
    // The fastest on top, where its slope shows.
    layers.reverse();
    layers
}

/// A site with what decides whether it is drawn.
struct Ranked {
    /// Its place among the findings, when it leaks.
    leaking: Option<usize>,
    growth: i64,
    live: u64,
    place: usize,
    finding: Option<usize>,
}

fn remark(finding: Option<&Finding>, growth: i64) -> String {
    let Some(finding) = finding else { return growth_in_words(growth) };
    let rate = finding.rate_bytes_per_second.filter(|_| finding.verdict != Verdict::Bounded);
    let rate = rate.map_or_else(String::new, |rate| format!(", {}", units::rate(rate.estimate)));
    format!("{}{rate}", verdict_in_words(finding.verdict))
}

fn growth_in_words(growth: i64) -> String {
    let size = units::bytes(growth.unsigned_abs());
    match growth {
        1.. => format!("grew by {size}"),
        0 => "did not grow".to_owned(),
        _ => format!("shrank by {size}"),
    }
}

type Line = Vec<(f64, f64)>;

/// Live and resident memory: from the timeline, where there is one, else from the snapshots.
fn lines(series: &Series, moments: &[usize], width: usize) -> (Line, Line) {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let mut points: Vec<(u64, u64, u64)> = moments
        .iter()
        .map(|moment| &series.moments[*moment])
        .map(|m| (m.elapsed_ms, m.totals.live().bytes, m.resident.map_or(0, |resident| resident.rss_bytes)))
        .collect();
    let end = points.last().map_or(0, |point| point.0);
    let timeline = series.timeline.iter().map(|p| (p.elapsed_ms, p.live_bytes, p.rss_bytes));
    points.extend(timeline.filter(|point| point.0 <= end));
    points.sort_unstable();
    let live = thinned(&points, 2 * width, |chunk| chunk.iter().copied().max_by_key(|point| point.1));
    let known: Vec<_> = points.iter().copied().filter(|point| point.2 > 0).collect();
    let resident = thinned(&known, 2 * width, |chunk| chunk.iter().copied().max_by_key(|point| point.2));
    (
        live.iter().map(|(ms, live, _)| (seconds(*ms), *live as f64)).collect(),
        resident.iter().map(|(ms, _, rss)| (seconds(*ms), *rss as f64)).collect(),
    )
}

fn title(judged: &Judged) -> String {
    let Judged { series, judgement, .. } = judged;
    let of_what = if judged.is_recorded() { "" } else { ", resident memory" };
    let leaking: Vec<&Finding> = judgement.findings.iter().filter(|f| f.verdict == Verdict::Leaking).collect();
    let speed: f64 = leaking.iter().filter_map(|f| f.rate_bytes_per_second).map(|rate| rate.estimate).sum();
    let answer = match judgement.verdict {
        Verdict::Leaking if !leaking.is_empty() => {
            format!("leaking at {}, {}", units::counted(leaking.len() as u64, "site"), units::rate(speed))
        }
        Verdict::Leaking if judged.resources().any(|one| one.verdict == Verdict::Leaking) => {
            let leaking = judged.resources().filter(|one| one.verdict == Verdict::Leaking);
            let words = leaking.map(|one| {
                let rate = one.rate_per_second.map_or_else(String::new, |rate| pace_in_words(one, rate.estimate));
                format!("{} leaking, {rate}", one.resource.in_words())
            });
            words.collect::<Vec<_>>().join("; ")
        }
        Verdict::Bounded => "nothing leaks".to_owned(),
        other => verdict_in_words(other).to_owned(),
    };
    format!("{}{of_what}: {answer}", program_name(&series.process))
}

fn subtitle(judged: &Judged) -> String {
    let process = &judged.series.process;
    let host = if process.host.is_empty() { String::new() } else { format!(" on {}", process.host) };
    format!("pid {}{host}: {}", process.pid, judged.data_in_words())
}
