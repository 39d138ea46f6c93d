//! Eight home-made soak gates that gave the wrong answer, as series, each with the right one.

use crate::world::{Behaviour, Plan, World, run, series};
use leakcheck::analysis::{Finding, JudgeOptions, Judgement, Verdict, judge};
use leakcheck::model::Mode;

const MINUTE: u64 = 60_000;
const MB: f64 = 1e6;

/// The world of a gate: `hours` with a snapshot every `minutes`, and requests that come and go beside it.
fn world(hours: f64, minutes: f64, seed: u64) -> (World, Vec<Behaviour>) {
    let every_ms = (minutes * MINUTE as f64) as u64;
    let snapshots = (hours * 60.0 / minutes) as usize;
    let plan = Plan { snapshots, every_ms, jitter: 0.05, mode: Mode::Exact, iterations: false, steps: 8 };
    let mut world = World::new(plan, seed);
    let mut behaviours = Vec::new();
    for name in ["http::request", "http::response", "log::line", "sql::row"] {
        let site = world.site(name, "alloc::vec::Vec<T,A>::push");
        let mut held = Vec::new();
        behaviours.push(Box::new(move |w: &mut World| {
            let n = w.random.poisson(5000.0);
            w.churn(site, n, 300);
            held.drain(..).for_each(|block| w.free(block));
            for _ in 0..w.random.below(20) {
                held.push(w.birth(site, 300));
            }
        }) as Behaviour);
    }
    (world, behaviours)
}

/// Keeps live bytes of new blocks of `size` at what `wanted` says for each hour; it must not fall.
fn grow(world: &mut World, name: &str, size: u64, wanted: impl Fn(f64) -> f64 + 'static) -> Behaviour {
    let site = world.site(name, "alloc::vec::Vec<T,A>::push");
    let mut blocks = 0;
    Box::new(move |w: &mut World| {
        let target = (wanted(w.now / 3600.0) / size as f64) as u64;
        // Never quite even.
        let new = target.saturating_sub(blocks);
        let new = w.random.poisson(new as f64).min(new + 1);
        w.leak(site, new, size);
        blocks += new;
    })
}

fn verdict(mut world: World, mut behaviours: Vec<Behaviour>) -> Judgement {
    let run = run(&mut world, &mut behaviours, false, &[]);
    judge(&series(&run.snapshots), &JudgeOptions::default())
}

fn said(judgement: &Judgement) -> String {
    let line = |finding: &Finding| {
        let name = finding.stack.frames.first().map_or("?", |frame| &frame.function.name);
        let evidence: Vec<String> = finding.evidence.iter().map(|e| format!("{:+.1} {}", e.log_odds, e.text)).collect();
        format!("{:?} {name}: {}", finding.verdict, evidence.join("; "))
    };
    judgement.findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Netis/heron#136: warm-up of 70 % read as a leak.
#[test]
fn soak_gate_heron_warm_up_is_no_leak() {
    let (mut w, mut behaviours) = world(2.0, 2.0, 136);
    behaviours.push(grow(&mut w, "engine::warm", 4096, |hour| 20.0 * MB * (1.0 + 0.7 * (1.0 - (-hour / 0.15).exp()))));
    let judgement = verdict(w, behaviours);
    assert_eq!(judgement.verdict, Verdict::Bounded, "{}", said(&judgement));
}

/// breferrari/vigia#126, #127: the plateau came after 7.5 of 24 hours.
#[test]
fn soak_gate_vigia_plateau_after_a_third_of_the_run() {
    let (mut w, mut behaviours) = world(24.0, 15.0, 126);
    behaviours.push(grow(&mut w, "index::fill", 2048, |hour| 13.0 * MB * (hour / 7.5).min(1.0)));
    let judgement = verdict(w, behaviours);
    assert_ne!(judgement.verdict, Verdict::Leaking, "{}", said(&judgement));
}

/// rocky-data/rocky#1255, #1308: the gate's floor of 20 MB passed a leak of 12 MB in 24 hours.
#[test]
fn soak_gate_rocky_a_slow_leak_is_one() {
    let (mut w, mut behaviours) = world(24.0, 15.0, 1255);
    behaviours.push(grow(&mut w, "state::cache", 65_536, |_| 27.0 * MB));
    behaviours.push(grow(&mut w, "jobs::register", 512, |hour| 0.482 * MB * hour));
    let judgement = verdict(w, behaviours);
    assert_eq!(judgement.verdict, Verdict::Leaking, "{}", said(&judgement));
    let leaking: Vec<&Finding> = judgement.findings.iter().filter(|f| f.verdict == Verdict::Leaking).collect();
    assert_eq!(leaking.len(), 1, "{}", said(&judgement));
    assert_eq!(leaking[0].stack.frames[0].function.name, "jobs::register");
    // 0.482 MB an hour are 134 bytes a second.
    let rate = leaking[0].rate_bytes_per_second.unwrap();
    assert!((rate.estimate - 134.0).abs() < 25.0, "{rate:?}");
}

/// questdb/c-questdb-client#181: a buffer between 14 and 76 MiB, handed off all at once, failed one build in three.
#[test]
fn soak_gate_questdb_sawtooth_is_no_leak() {
    for seed in 181..187 {
        let (mut w, mut behaviours) = world(1.0, 0.5, seed);
        let site = w.site("buffer::row", "alloc::vec::Vec<T,A>::push");
        let (mut held, mut next) = (Vec::new(), 200);
        behaviours.push(Box::new(move |w| {
            for _ in 0..w.random.poisson(12.0) {
                held.push(w.birth(site, 262_144));
            }
            if held.len() >= next {
                held.drain(..).for_each(|block| w.free(block));
                next = 220 + w.random.below(40);
            }
        }));
        let judgement = verdict(w, behaviours);
        assert_ne!(judgement.verdict, Verdict::Leaking, "seed {seed}: {}", said(&judgement));
    }
}

/// sirixdb/sirix#1042: a cache of a million entries filled linearly for all of the hour. While it fills nobody can tell it
/// from a leak, but *bounded* would be as wrong; once it is full, it is no leak.
#[test]
fn soak_gate_sirix_cache_that_fills_for_an_hour() {
    let fill = |hours| {
        let (mut w, mut behaviours) = world(hours, 1.0, 1042);
        behaviours.push(grow(&mut w, "revision::cache", 1100, |hour| 110.0 * MB * (hour / 1.25).min(1.0)));
        verdict(w, behaviours)
    };
    assert_ne!(fill(1.0).verdict, Verdict::Bounded);
    let full = fill(3.0);
    assert_ne!(full.verdict, Verdict::Leaking, "{}", said(&full));
}

/// paddor/omq.rs#24: slopes of live bytes were too noisy to gate on: bounded queues that are now fuller, now emptier.
#[test]
fn soak_gate_omq_queues_of_changing_length() {
    for seed in 24..30 {
        let (mut w, mut behaviours) = world(0.5, 0.25, seed);
        for name in ["socket::send", "socket::receive"] {
            let site = w.site(name, "alloc::collections::vec_deque::VecDeque<T,A>::push_back");
            let (mut held, mut level) = (std::collections::VecDeque::new(), 500.0_f64);
            behaviours.push(Box::new(move |w| {
                level = (level + w.random.between(-60.0, 60.0)).clamp(0.0, 1000.0);
                for _ in 0..200 {
                    held.push_back(w.birth(site, 1024));
                }
                while held.len() > level as usize {
                    held.pop_front().into_iter().for_each(|block| w.free(block));
                }
            }));
        }
        let judgement = verdict(w, behaviours);
        assert_ne!(judgement.verdict, Verdict::Leaking, "seed {seed}: {}", said(&judgement));
    }
}

/// oven-sh/bun#43157: one step read as a slope.
#[test]
fn soak_gate_bun_one_step_is_no_slope() {
    for (seed, at) in [(43_157, 0.3), (43_158, 0.5), (43_159, 0.7), (43_160, 0.85)] {
        let (mut w, mut behaviours) = world(1.0, 1.0, seed);
        behaviours.push(grow(&mut w, "jit::stub", 4096, move |hour| if hour >= at { 48.0 * MB } else { 16.0 * MB }));
        let judgement = verdict(w, behaviours);
        assert_ne!(judgement.verdict, Verdict::Leaking, "step at {at}: {}", said(&judgement));
    }
}

/// transithq/tropel#479: the gate that was promised did not exist, so it could not fail. This one must: flat is bounded,
/// and the same with a leak is not.
#[test]
fn soak_gate_tropel_the_gate_can_fail() {
    for leak in [0.0, 2.0] {
        let (mut w, mut behaviours) = world(24.0, 15.0, 479);
        behaviours.push(grow(&mut w, "metrics::series", 256, move |hour| 5.0 * MB + leak * MB * hour));
        let judgement = verdict(w, behaviours);
        let right = if leak > 0.0 { Verdict::Leaking } else { Verdict::Bounded };
        assert_eq!(judgement.verdict, right, "{}", said(&judgement));
    }
}
