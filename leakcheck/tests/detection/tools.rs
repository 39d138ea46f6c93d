//! How good the judge is, in numbers: the smallest rate found against the length of a run, how true its probabilities
//! are, and how long it takes. Each is a test with a small size that always runs; `LEAKCHECK_TOOLS=1` prints the whole.

use crate::shapes::{self, Set};
use crate::table::{MODE_NAMES, MODES, Table, in_parallel};
use crate::world::{Plan, World, run, series};
use leakcheck::analysis::{JudgeOptions, Restarts, Verdict, judge, restarts, self_test};
use leakcheck::model::{
    Amount, Counters, FoldedStack, Function, Generation, Mode, Moment, Point, Reason, Series, SiteKey, SiteSeries,
    Survivors, fold,
};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Instant;

fn whole() -> bool {
    std::env::var_os("LEAKCHECK_TOOLS").is_some()
}

/// Whether a steady leak of `blocks` in a run of `snapshots` is found among the clean sites of a service.
fn steady_is_found(snapshots: usize, blocks: f64, mode: Mode, seed: u64) -> bool {
    let plan = Plan { snapshots, every_ms: 1000, jitter: 0.1, mode, iterations: false, steps: 6 };
    let mut world = World::new(plan, seed);
    let mut behaviours = shapes::background(&mut world);
    let site = world.site("orders::take", "alloc::boxed::Box<T>::new");
    let per_s = blocks / world.length();
    behaviours.push(Box::new(move |w| {
        let mean = per_s * w.step;
        let n = w.random.poisson(mean);
        w.leak(site, n, 256);
        w.churn(site, 10, 256);
    }));
    let snapshots = run(&mut world, &mut behaviours, false, &[]).snapshots;
    let judgement = judge(&series(&snapshots), &JudgeOptions::default());
    let leaking = judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Leaking);
    leaking.flat_map(|finding| &finding.stack.frames).any(|frame| frame.function.name == "orders::take")
}

/// The share of seeds in which it is.
fn power(snapshots: usize, blocks: f64, mode: Mode, seeds: u64) -> f64 {
    let found = Mutex::new(0);
    in_parallel(&(0..seeds).collect::<Vec<u64>>(), |seed| {
        if steady_is_found(snapshots, blocks, mode, *seed) {
            *found.lock().unwrap() += 1;
        }
    });
    let found = *found.lock().unwrap();
    f64::from(found) / seeds as f64
}

#[test]
fn power_grows_with_the_number_of_blocks() {
    let (lengths, blocks, seeds): (&[usize], &[f64], u64) = if whole() {
        (&[10, 15, 30, 60, 120, 200], &[15.0, 25.0, 40.0, 60.0, 100.0, 160.0, 250.0, 400.0, 1000.0], 40)
    } else {
        (&[40], &[10.0, 200.0], 8)
    };
    for (mode, name) in MODES.into_iter().zip(MODE_NAMES) {
        let mut text = format!("| {name}: snapshots |");
        blocks.iter().for_each(|blocks| write!(text, " {blocks} |").unwrap());
        for length in lengths {
            let shares: Vec<f64> = blocks.iter().map(|blocks| power(*length, *blocks, mode, seeds)).collect();
            write!(text, "\n| {length} |").unwrap();
            shares.iter().for_each(|share| write!(text, " {:.0} |", 100.0 * share).unwrap());
            assert!(shares.first() <= shares.last());
            assert!(mode != Mode::Exact || shares.last().unwrap() > &0.9, "{text}");
        }
        println!("{text}");
    }
}

#[test]
fn probabilities_are_no_larger_than_the_truth() {
    let (lengths, seeds): (&[usize], u64) = if whole() { (&[1, 2, 3, 4], 2) } else { (&[1], 1) };
    let mut probabilities = Vec::new();
    for set in [Set::Development, Set::HeldOut] {
        for leaking in [true, false] {
            let kinds: Vec<_> = shapes::all(leaking).into_iter().filter(|kind| kind.set == set).collect();
            let modes = if whole() { &[0, 1][..] } else { &[0] };
            probabilities.extend(Table::of(&kinds, modes, lengths, seeds).probabilities);
        }
    }
    let mut text = String::from("| said | findings | leak |\n|---|---|---|\n");
    for (from, to) in [(0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 0.95), (0.95, 0.99), (0.99, 1.01)] {
        let within: Vec<bool> =
            probabilities.iter().filter(|(p, _)| (from..to).contains(p)).map(|(_, truth)| *truth).collect();
        let share = within.iter().filter(|truth| **truth).count() as f64 / within.len().max(1) as f64;
        let to = f64::min(to, 1.0);
        writeln!(text, "| {from} to {to} | {} | {:.1} % |", within.len(), 100.0 * share).unwrap();
        // Of what is called a leak nearly all is one.
        assert!(from < 0.95 || within.is_empty() || share > 0.95, "{text}");
    }
    println!("{text}");
}

/// A series of many sites, built as it is kept: a tenth of the sites grow, a third come and go, the others are still.
fn large_series(sites: usize, moments: usize) -> Series {
    let plan = Plan { snapshots: 1, every_ms: 1000, jitter: 0.0, mode: Mode::Exact, iterations: false, steps: 1 };
    let mut world = World::new(plan, 1);
    let mut series = series(&run(&mut world, &mut [], false, &[]).snapshots);
    let first = series.moments[0].clone();
    series.moments.clear();
    series.generations.clear();
    let frame = Function { name: "app::take".into(), file: Some("src/app.rs".into()), line: Some(1) };
    let stack: FoldedStack = fold([&frame]);
    for moment in 0..moments {
        let elapsed_ms = 1000 * (moment as u64 + 1);
        let blocks = 10_000 * (moment as u64 + 1);
        let totals = Counters { allocated: Amount::new(blocks, blocks * 64), ..Counters::default() };
        let next = Moment { sequence: moment as u64, reason: Reason::Periodic, elapsed_ms, totals, ..first.clone() };
        series.moments.push(next);
        series.generations.push(Generation { number: moment as u32, started_elapsed_ms: elapsed_ms - 1000 });
    }
    for place in 0..sites {
        let key = SiteKey { code: place as u64, lines: place as u64 };
        let live = |moment: u64| match place % 10 {
            0 => moment * 3 + 5,
            1..=3 => 20 + (moment * 7919 + place as u64) % 13,
            _ => 20,
        };
        let points = (0..moments as u64).filter(|moment| *moment == 0 || live(*moment) != live(moment - 1));
        let points = points.map(|moment| {
            let allocated = Amount::new(30 * moment + 100, 64 * (30 * moment + 100));
            let freed = Amount::new(allocated.blocks - live(moment), 64 * (allocated.blocks - live(moment)));
            Point {
                moment: moment as u32,
                counters: Counters { allocated, freed, resized: 0 },
                generations_alive: live(moment).min(moment + 1) as u32,
            }
        });
        let survivors = match place % 10 {
            0 => (0..moments as u32).map(|generation| Survivors { generation, blocks: 3, bytes: 192 }).collect(),
            _ => vec![Survivors { generation: 0, blocks: 20, bytes: 1280 }],
        };
        series.sites.push(SiteSeries {
            key,
            stack: stack.clone(),
            scope: None,
            points: points.collect(),
            survivors,
            before_fall: None,
            size: None,
            threads: Vec::new(),
            modules: Vec::new(),
        });
    }
    series
}

#[test]
fn many_sites_are_judged_in_a_bounded_time() {
    let (sites, moments) = if whole() { (100_000, 500) } else { (1_000, 100) };
    let series = large_series(sites, moments);
    let points: usize = series.sites.iter().map(|site| site.points.len()).sum();
    let began = Instant::now();
    let judgement = judge(&series, &JudgeOptions::default());
    let seconds = began.elapsed().as_secs_f64();
    let resident = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = resident.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{sites} sites, {moments} snapshots, {points} points: {seconds:.2} s; {peak}");
    let leaking = judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Leaking).count();
    assert_eq!(leaking, sites / 10);
}

/// Lives of one program, one after the other, each of `seconds`; `per_s` blocks stay per second.
fn lives(count: u32, seconds: u64, per_s: f64) -> Vec<Series> {
    lives_that_tire(count, seconds, per_s, f64::MAX)
}

/// The same, but ever fewer blocks stay, with a time constant of `tires_s`.
fn lives_that_tire(count: u32, seconds: u64, per_s: f64, tires_s: f64) -> Vec<Series> {
    let life = |number: u32| {
        let snapshots = seconds as usize;
        let plan = Plan { snapshots, every_ms: 1000, jitter: 0.0, mode: Mode::Exact, iterations: false, steps: 2 };
        let mut world = World::new(plan, number.into());
        let site = world.site("orders::take", "alloc::boxed::Box<T>::new");
        let mut behaviours = vec![Box::new(move |w: &mut World| {
            let start = if w.now < 1.0 { 100 } else { 0 };
            let mean = per_s * w.step * (-w.now / tires_s).exp();
            let n = w.random.poisson(mean) + start;
            w.leak(site, n, 1024);
        }) as crate::world::Behaviour];
        let mut snapshots = run(&mut world, &mut behaviours, false, &[]).snapshots;
        for snapshot in &mut snapshots {
            let moved = u64::from(number) * (seconds + 2) * 1000;
            snapshot.process.pid += number;
            snapshot.process.started_unix_ms += moved;
            snapshot.recording.started_unix_ms += moved;
            snapshot.taken_unix_ms += moved;
        }
        series(&snapshots)
    };
    (0..count).map(life).collect()
}

fn sawtooth(lives: &[Series]) -> Option<Restarts> {
    restarts(&lives.iter().collect::<Vec<&Series>>())
}

#[test]
fn restarts_hide_a_leak() {
    let found = sawtooth(&lives(5, 20, 50.0)).unwrap();
    assert_eq!(found.lives, 5);
    let rate = found.rate_bytes_per_second;
    assert!((rate.estimate / 51_200.0 - 1.0).abs() < 0.3, "{rate:?}");
    // Lives that warm up, level lives, too few lives, and workers beside each other are none.
    assert_eq!(sawtooth(&lives_that_tire(5, 20, 200.0, 6.0)), None);
    assert_eq!(sawtooth(&lives(5, 20, 0.0)), None);
    assert_eq!(sawtooth(&lives(2, 20, 50.0)), None);
    let mut beside = lives(5, 20, 50.0);
    for life in &mut beside {
        life.process.started_unix_ms = 0;
    }
    assert_eq!(sawtooth(&beside), None);
}

/// A gate must be able to fail: a leak is planted into the run of a clean service, and seen; unless the run is too short.
#[test]
fn a_planted_leak_shows_how_much_a_run_can_show() {
    let clean = |snapshots: usize, mode: Mode| {
        let plan = Plan { snapshots, every_ms: 1000, jitter: 0.1, mode, iterations: false, steps: 6 };
        let mut world = World::new(plan, 3);
        let mut behaviours = shapes::background(&mut world);
        series(&run(&mut world, &mut behaviours, true, &[]).snapshots)
    };
    let options = JudgeOptions::default();
    let least = |snapshots, mode| {
        let began = Instant::now();
        let found = self_test(&clean(snapshots, mode), &options);
        println!("{snapshots} snapshots, {mode:?}: {found:?} in {:.2} s", began.elapsed().as_secs_f64());
        found
    };
    let minute = least(60, Mode::Exact);
    assert!(minute.passed && minute.least_bytes_per_second.unwrap() < 60.0 * 256.0, "{minute:?}");
    let hour = least(600, Mode::Exact);
    assert!(hour.least_bytes_per_second < minute.least_bytes_per_second, "{hour:?}");
    let sampled = least(60, Mode::Sampled { interval_bytes: 65_536 });
    assert!(sampled.least_bytes_per_second > minute.least_bytes_per_second, "{sampled:?}");
    // Below what the run can show, and in a run too short to show anything, the control says so.
    let faint = JudgeOptions { min_rate_bytes_per_second: 10.0, ..JudgeOptions::default() };
    assert!(!self_test(&clean(60, Mode::Exact), &faint).passed);
    // A fast leak over a long run is many blocks.
    for (snapshots, rate) in [(60, 1e6), (600, 1e4)] {
        let fast = JudgeOptions { min_rate_bytes_per_second: rate, ..JudgeOptions::default() };
        let found = self_test(&clean(snapshots, Mode::Exact), &fast);
        assert!(found.passed, "{found:?}");
    }
    let short = least(4, Mode::Exact);
    assert!(!short.passed && short.least_bytes_per_second.is_none(), "{short:?}");
}
