//! Processes that are alike, beside each other: which of them is the sick one.
//!
//! Workers of one program under one parent do the same work, so that what one does and the others do not is no matter of
//! load. The comparison is told, and changes no verdict. Does not look into sites: a process's rate is the sum of what
//! leaks in it.

use super::judgement::{Judgement, Rate, Verdict};
use super::resources::{Resource, ResourceFinding, bytes_in_words};
use super::statistics::median;
use crate::model::{Process, Series};

/// Lives overlap for at least this share of the shorter one.
const OVERLAP: f64 = 0.5;
/// A rate is far from those of its peers beyond so many of their median absolute deviations, and times their median.
const FAR: f64 = 5.0;

/// What processes that are alike show together.
#[derive(Debug, Clone, PartialEq)]
pub struct Peers {
    /// Path of their executable.
    pub executable: String,
    /// Their places in the list given, in its order; at least two.
    pub series: Vec<usize>,
    /// The places of those that leak.
    pub leaking: Vec<usize>,
    /// The place of one that is *inconclusive* and grows while the others do not.
    pub stands_out: Option<usize>,
    /// How fast those that leak grow: the median in bytes per second, with the slowest and the fastest.
    pub rate_bytes_per_second: Option<Rate>,
    /// One sentence.
    pub text: String,
}

/// Groups series of processes that are alike, and says of each group which of them leak. `judgements` are in the order of
/// `series`.
#[must_use]
pub fn peers(series: &[&Series], judgements: &[&Judgement]) -> Vec<Peers> {
    groups(series).into_iter().map(|group| compared(group, series, judgements)).collect()
}

fn groups(series: &[&Series]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for place in 0..series.len() {
        let fits = |group: &&mut Vec<usize>| group.iter().all(|other| are_alike(series[*other], series[place]));
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn are_alike(a: &Series, b: &Series) -> bool {
    let is_child = |child: &Process, parent: &Process| child.parent_pid == Some(parent.pid);
    let (one, other) = (&a.process, &b.process);
    one.executable == other.executable
        && one.host == other.host
        && one.parent_pid.zip(other.parent_pid).is_none_or(|(a, b)| a == b)
        && !is_child(one, other)
        && !is_child(other, one)
        && overlap(a, b) >= OVERLAP
}

/// The time in which both were looked at, as a share of the shorter one.
fn overlap(a: &Series, b: &Series) -> f64 {
    let life = |one: &Series| {
        let at = |moment: Option<&crate::model::Moment>| {
            one.recording.started_unix_ms.saturating_add(moment.map_or(0, |moment| moment.elapsed_ms))
        };
        (at(one.moments.first()), at(one.moments.last()))
    };
    let ((a_from, a_to), (b_from, b_to)) = (life(a), life(b));
    let shorter = a_to.saturating_sub(a_from).min(b_to.saturating_sub(b_from));
    if shorter == 0 {
        return 0.0;
    }
    a_to.min(b_to).saturating_sub(a_from.max(b_from)) as f64 / shorter as f64
}

fn compared(group: Vec<usize>, series: &[&Series], judgements: &[&Judgement]) -> Peers {
    let verdict = |place: &usize| judgements.get(*place).map_or(Verdict::Inconclusive, |one| one.verdict);
    let of = |wanted| group.iter().copied().filter(|place| verdict(place) == wanted).collect::<Vec<usize>>();
    let (leaking, open) = (of(Verdict::Leaking), of(Verdict::Inconclusive));
    let mut rates: Vec<f64> = leaking
        .iter()
        .filter_map(|place| leak_bytes_per_s(judgements.get(*place)?))
        .filter(|rate| *rate > 0.0)
        .collect();
    let estimate = median(&mut rates);
    let rate = rates.first().zip(rates.last()).map(|(low, high)| Rate { estimate, low: *low, high: *high });
    let stands_out = if leaking.is_empty() { outlier(&group, &open, judgements) } else { None };
    let text = text(&group, &leaking, &open, stands_out, rate, series, judgements);
    let executable = group.first().map_or_else(String::new, |place| series[*place].process.executable.clone());
    Peers { executable, series: group, leaking, stands_out, rate_bytes_per_second: rate, text }
}

/// What leaks in a process, in bytes per second.
fn leak_bytes_per_s(judgement: &Judgement) -> Option<f64> {
    bytes_per_s(judgement, Verdict::Leaking)
}

fn bytes_per_s(judgement: &Judgement, verdict: Verdict) -> Option<f64> {
    let sites = judgement.findings.iter().filter(|one| one.verdict == verdict && one.counts());
    let sites: Vec<f64> = sites.filter_map(|one| one.rate_bytes_per_second).map(|rate| rate.estimate).collect();
    let memory = judgement.resources.iter().find(|one| one.resource == Resource::Memory);
    let memory = memory.filter(|one| one.verdict == verdict).and_then(|one| one.rate_per_second);
    match (sites.is_empty(), memory) {
        (true, None) => None,
        (_, memory) => Some(sites.iter().sum::<f64>() + memory.map_or(0.0, |rate| rate.estimate)),
    }
}

/// The open one of which the memory grows far faster than that of all others.
fn outlier(group: &[usize], open: &[usize], judgements: &[&Judgement]) -> Option<usize> {
    const OTHERS_MIN: usize = 2;
    let growth = |place: &usize| {
        let judgement = judgements.get(*place)?;
        let of = |verdict| bytes_per_s(judgement, verdict);
        Some(of(Verdict::Inconclusive).or_else(|| of(Verdict::Bounded)).unwrap_or(0.0).max(0.0))
    };
    let rate = |place: &usize| growth(place).unwrap_or(0.0);
    let fastest = open.iter().copied().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let mut others: Vec<f64> = group.iter().filter(|place| **place != fastest).map(rate).collect();
    if others.len() < OTHERS_MIN {
        return None;
    }
    let middle = median(&mut others);
    let spread = median(&mut others.iter().map(|one| (one - middle).abs()).collect::<Vec<f64>>());
    let highest = others.iter().copied().fold(0.0, f64::max);
    let own = rate(&fastest);
    let is_far = own > FAR * middle && own - middle > FAR * spread && own > 2.0 * highest;
    is_far.then_some(fastest)
}

fn text(
    group: &[usize],
    leaking: &[usize],
    open: &[usize],
    stands_out: Option<usize>,
    rate: Option<Rate>,
    series: &[&Series],
    judgements: &[&Judgement],
) -> String {
    let executable = group.first().map_or("", |place| series[*place].process.executable.as_str());
    let name = executable.rsplit('/').next().unwrap_or_default();
    let all = format!("{} processes of {name} that are alike", group.len());
    let pids = |places: &[usize]| {
        let pids: Vec<String> = places.iter().map(|place| series[*place].process.pid.to_string()).collect();
        format!("pid {}", pids.join(", "))
    };
    let others: Vec<usize> = group.iter().copied().filter(|place| !leaking.contains(place)).collect();
    let rest = match (others.len(), open.len()) {
        (0, _) => String::new(),
        (_, 0) => ", while the others stay within bounds".to_owned(),
        (others, open) if others == open => ", and of the others the data does not tell yet".to_owned(),
        (_, open) => format!(", and of {open} others the data does not tell yet"),
    };
    let how = |places: &[usize]| {
        let mut parts: Vec<String> = rate.map(speed).into_iter().collect();
        parts.extend(other_resources(places, judgements));
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
    };
    match (leaking.len(), open.len()) {
        (0, 0) => format!("none of {all} leaks"),
        (0, _) => match stands_out {
            Some(one) => {
                let growth = judgements.get(one).and_then(|one| bytes_per_s(one, Verdict::Inconclusive)).unwrap_or(0.0);
                let growth = bytes_in_words(growth);
                format!(
                    "of {all} {} grows by {growth} a second and the others do not; whether it leaks is open",
                    pids(&[one])
                )
            }
            None => format!("whether any of {all} leaks is open"),
        },
        (some, _) if some == group.len() => format!("all {all} leak{}", how(leaking)),
        (1, _) => format!("1 of {all} leaks: {}{}{rest}", pids(leaking), how(leaking)),
        (some, _) => format!("{some} of {all} leak: {}{}{rest}", pids(leaking), how(leaking)),
    }
}

fn speed(rate: Rate) -> String {
    let (low, high) = (bytes_in_words(rate.low), bytes_in_words(rate.high));
    if low == high { format!("memory by {low} a second") } else { format!("memory by {low} to {high} a second each") }
}

/// Figures besides memory that leak in one of them.
fn other_resources(places: &[usize], judgements: &[&Judgement]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let leaks =
        |one: &&ResourceFinding| one.verdict == Verdict::Leaking && one.counts() && one.resource != Resource::Memory;
    for one in
        places.iter().filter_map(|place| judgements.get(*place)).flat_map(|one| one.resources.iter().filter(leaks))
    {
        if !names.contains(&one.resource.in_words()) {
            names.push(one.resource.in_words());
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{JudgeOptions, judge};
    use crate::model::made_up_kernel_series;

    const MIB: u64 = 1 << 20;

    fn worker(pid: u32, parent: u32, from_s: u64, bytes: impl Fn(u64) -> u64) -> Series {
        made_up_kernel_series(pid, Some(parent), from_s * 1000, &(0..60).map(bytes).collect::<Vec<u64>>())
    }

    fn level(_: u64) -> u64 {
        40 * MIB
    }

    fn leaky(second: u64) -> u64 {
        40 * MIB + second * MIB / 4
    }

    /// Too unsteady to be a leak.
    fn grows_once(second: u64) -> u64 {
        40 * MIB + second.saturating_sub(40) * MIB / 2
    }

    #[track_caller]
    fn check(series: &[Series], expected: &[(&[usize], &[usize], &str)]) {
        let judgements: Vec<Judgement> = series.iter().map(|one| judge(one, &JudgeOptions::default())).collect();
        let found = peers(&series.iter().collect::<Vec<_>>(), &judgements.iter().collect::<Vec<_>>());
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, (places, leaking, text)) in found.iter().zip(expected) {
            assert_eq!((found.series.as_slice(), found.leaking.as_slice()), (*places, *leaking), "{found:#?}");
            assert!(found.text.contains(text), "{found:#?}");
        }
    }

    #[test]
    fn the_sick_one_is_named() {
        let pool = [worker(1, 9, 0, level), worker(2, 9, 0, leaky), worker(3, 9, 1, level)];
        let text = "1 of 3 processes of shop that are alike leaks: pid 2 (memory by 256.0 KiB a second), while the others stay";
        check(&pool, &[(&[0, 1, 2], &[1], text)]);
        let all = [worker(1, 9, 0, leaky), worker(2, 9, 0, |second| 2 * leaky(second))];
        check(
            &all,
            &[(&[0, 1], &[0, 1], "all 2 processes of shop that are alike leak (memory by 256.0 KiB to 512.0 KiB")],
        );
        check(&[worker(1, 9, 0, level), worker(2, 9, 0, level)], &[(&[0, 1], &[], "none of 2 processes of shop")]);
    }

    #[test]
    fn one_that_grows_while_the_others_do_not_is_told_though_it_is_open() {
        let pool = [worker(1, 9, 0, level), worker(2, 9, 0, level), worker(3, 9, 0, grows_once)];
        check(&pool, &[(&[0, 1, 2], &[], "pid 3 grows by ")]);
        check(&[worker(1, 9, 0, level), worker(2, 9, 0, grows_once)], &[(&[0, 1], &[], "whether any of 2 processes")]);
    }

    #[test]
    fn parents_strangers_and_successors_are_not_alike() {
        check(&[worker(9, 1, 0, level), worker(2, 9, 0, leaky)], &[]);
        check(&[worker(1, 8, 0, level), worker(2, 9, 0, leaky)], &[]);
        check(&[worker(1, 9, 0, level), worker(2, 9, 70, leaky)], &[]);
        let mut unknown = [worker(9, 1, 0, level), worker(2, 9, 0, level)];
        unknown[0].process.parent_pid = None;
        check(&unknown, &[]);
    }
}
