//! What holds for any series.

use crate::shapes::{self, Part};
use crate::table::{Case, MODES};
use crate::world::{Plan, World, run, series};
use leakcheck::analysis::{JudgeOptions, Verdict, diff, judge};
use leakcheck::model::{Amount, Counters, Mode, Reason, Series, SiteKey, Snapshot, Survivors};
use proptest::prelude::*;
use std::collections::HashMap;

/// A clean service, with a strong leak in it or not.
fn service(seed: u64, mode: Mode, leak: bool) -> (Vec<Snapshot>, Vec<String>) {
    let plan = Plan { snapshots: 40, every_ms: 1000, jitter: 0.1, mode, iterations: seed.is_multiple_of(2), steps: 4 };
    let mut world = World::new(plan, seed);
    let mut behaviours = shapes::background(&mut world);
    let mut part = Part::new(&mut world, 1.0);
    if leak {
        (shapes::named("linear").build)(&mut part);
    }
    let guilty = std::mem::take(&mut part.guilty);
    behaviours.append(&mut part.behaviours);
    let run = run(&mut world, &mut behaviours, false, &[]);
    let guilty = guilty.into_iter().map(|site| world.name(site).to_owned()).collect();
    (run.snapshots, guilty)
}

fn verdicts(snapshots: &[Snapshot]) -> (Verdict, Vec<(SiteKey, Verdict)>) {
    let judgement = judge(&series(snapshots), &JudgeOptions::default());
    let mut sites: Vec<_> = judgement.findings.iter().map(|f| (f.key, f.verdict)).collect();
    sites.sort();
    (judgement.verdict, sites)
}

/// Any kind, by its place among all.
pub fn any_case(place: usize, seed: u64) -> Case {
    let kinds: Vec<_> = [true, false].into_iter().flat_map(shapes::all).collect();
    let kind = kinds[place % kinds.len()];
    Case { kind, rate: (seed % 3) as usize, mode: (seed % 2) as usize, length: 2, seed }
}

/// Times in snapshots, multiplied.
fn stretch(snapshots: &[Snapshot], factor: u64) -> Vec<Snapshot> {
    let mut out = snapshots.to_vec();
    for snapshot in &mut out {
        snapshot.elapsed_ms *= factor;
        snapshot.taken_unix_ms = snapshot.recording.started_unix_ms + snapshot.elapsed_ms;
        snapshot.recording.every_ms *= factor;
        for generation in &mut snapshot.generations {
            generation.started_elapsed_ms *= factor;
        }
    }
    out
}

fn extreme() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX / 2), 0_u64..1000, any::<u64>()]
}

prop_compose! {
    fn garbage()(
        times in prop::collection::vec((extreme(), extreme(), extreme()), 1..14),
        numbers in prop::collection::vec(extreme(), 40),
        exit in any::<bool>(),
    ) -> Vec<Snapshot> {
        let (clean, _) = service(3, Mode::Exact, true);
        let mut number = numbers.iter().copied().cycle();
        let mut next = || number.next().unwrap_or(0);
        let last = times.len() - 1;
        times.into_iter().enumerate().map(|(place, (elapsed, taken, iterations))| {
            let mut snapshot = clean[place].clone();
            snapshot.elapsed_ms = elapsed;
            snapshot.taken_unix_ms = taken;
            snapshot.iterations = iterations;
            if exit && place == last {
                snapshot.reason = Reason::Exit;
            }
            for generation in &mut snapshot.generations {
                generation.started_elapsed_ms = next();
            }
            for site in snapshot.sites.iter_mut().take(8) {
                site.counters = Counters {
                    allocated: Amount::new(next(), next()),
                    freed: Amount::new(next(), next()),
                    resized: next(),
                };
                let generations = [next() as u32, next() as u32];
                site.survivors = generations.iter().map(|&generation| Survivors {
                    generation,
                    // The sum of all must fit: sites with one stack are added up.
                    blocks: next() / 4,
                    bytes: next() / 4,
                }).collect();
            }
            snapshot.totals = Counters {
                allocated: Amount::new(next(), next()),
                freed: Amount::new(next(), next()),
                resized: next(),
            };
            snapshot
        }).collect()
    }
}

pub fn config(cases: u32) -> ProptestConfig {
    // Fixed: the outcome is the same in each run.
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    }
}

#[test]
fn a_thinned_series_says_the_same_where_it_says_something() {
    for (seed, leak) in [(1, true), (2, false), (5, true)] {
        let (snapshots, _) = service(seed, Mode::Exact, leak);
        for every in [1, 2, 3, 7, 1000] {
            let stays = |sequence: u64| sequence.is_multiple_of(every) || sequence == 20;
            let whole = series(&snapshots);
            let mut thinned = whole.clone();
            thinned.thin(|moment| stays(moment.sequence));
            let last = whole.moments.len() - 1;
            let kept: Vec<usize> =
                (0..=last).filter(|place| *place == last || stays(whole.moments[*place].sequence)).collect();
            assert_eq!(thinned.moments, kept.iter().map(|place| whole.moments[*place].clone()).collect::<Vec<_>>());
            for (site, before) in thinned.sites.iter().zip(&whole.sites) {
                for (now, then) in kept.iter().enumerate() {
                    assert_eq!(site.at(now), before.at(*then));
                    assert_eq!(site.generations_alive_at(now), before.generations_alive_at(*then));
                }
                assert!(site.points.windows(2).all(|pair| pair[0].moment < pair[1].moment));
            }
        }
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn property_planted_leak_is_flagged(seed in 0_u64..10_000, mode in 0_usize..2) {
        let (snapshots, guilty) = service(seed, MODES[mode], true);
        let judgement = judge(&series(&snapshots), &JudgeOptions::default());
        let leaking = judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Leaking);
        let accused: Vec<&str> = leaking.map(|finding| finding.stack.frames[0].function.name.as_str()).collect();
        prop_assert_eq!(accused, guilty);
        let (snapshots, _) = service(seed, MODES[mode], false);
        prop_assert_ne!(judge(&series(&snapshots), &JudgeOptions::default()).verdict, Verdict::Leaking);
    }

    #[test]
    fn property_time_scale_changes_no_verdict(place in 0_usize..1000, seed in 0_u64..1000, factor in 2_u64..5000) {
        let snapshots = any_case(place, seed).simulate().snapshots;
        let longer = stretch(&snapshots, factor);
        prop_assert_eq!(verdicts(&snapshots), verdicts(&longer));
        let rates = |snapshots: &[Snapshot]| {
            let judgement = judge(&series(snapshots), &JudgeOptions::default());
            judgement.findings.iter().map(|f| (f.key, f.rate_bytes_per_second)).collect::<HashMap<_, _>>()
        };
        let (before, after) = (rates(&snapshots), rates(&longer));
        for (key, rate) in before {
            let (Some(rate), Some(Some(scaled))) = (rate, after.get(&key)) else { continue };
            let scaled = scaled.estimate * factor as f64;
            prop_assert!((rate.estimate - scaled).abs() <= 0.02 * rate.estimate.abs() + 1e-9, "{rate:?} {scaled}");
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn property_garbage_never_panics(snapshots in garbage()) {
        let series = series(&snapshots);
        let _ = judge(&series, &JudgeOptions::default());
        let options = JudgeOptions { warm_up_ms: Some(u64::MAX), min_rate_bytes_per_second: f64::NAN, false_discovery_rate: -1.0, limit_bytes: Some(1), ..JudgeOptions::default() };
        let _ = judge(&series, &options);
        for pair in snapshots.windows(2) {
            let _ = diff(&pair[0], &pair[1]);
            let _ = diff(&pair[1], &pair[0]);
        }
    }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn property_differences_add_up(seed in 0_u64..1000, b in 1_usize..38) {
        let (snapshots, _) = service(seed, Mode::Exact, true);
        let (first, middle, last) = (&snapshots[0], &snapshots[b], &snapshots[39]);
        prop_assert!(diff(first, first).sites.is_empty());
        let growth = |a: &Snapshot, b: &Snapshot| {
            diff(a, b).sites.iter().map(|s| (s.key, (s.growth_bytes(), s.growth_blocks()))).collect::<HashMap<_, _>>()
        };
        let mut parts = growth(first, middle);
        for (key, (bytes, blocks)) in growth(middle, last) {
            let sum = parts.entry(key).or_default();
            *sum = (sum.0 + bytes, sum.1 + blocks);
        }
        let mut whole = growth(first, last);
        for growths in [&mut parts, &mut whole] {
            growths.retain(|_, growth| *growth != (0, 0));
        }
        prop_assert_eq!(parts, whole);
    }
}

/// The same program, snapshots at even and at uneven intervals: the same verdict.
#[test]
fn property_jitter_changes_no_verdict() {
    for kind in ["linear", "partial_free_60", "lru_fills_early", "sessions"].map(shapes::named) {
        let verdict = |jitter| {
            let plan = Plan { snapshots: 60, every_ms: 1000, jitter, mode: Mode::Exact, iterations: false, steps: 6 };
            let mut world = World::new(plan, 11);
            let mut behaviours = shapes::background(&mut world);
            let mut part = Part::new(&mut world, 1.0);
            (kind.build)(&mut part);
            behaviours.append(&mut part.behaviours);
            let snapshots = run(&mut world, &mut behaviours, false, &[]).snapshots;
            judge(&series(&snapshots), &JudgeOptions::default()).verdict == Verdict::Leaking
        };
        for jitter in [0.0, 0.2, 0.5, 0.9] {
            assert_eq!(verdict(jitter), kind.leaking, "{} with jitter {jitter}", kind.name);
        }
    }
}

/// The buffer of a queue that fills until `until` of the run, and then keeps its length or drains; or, with `beside`, of a queue
/// of numbers that grows on beside such entries. Whether the buffer is called leaking.
fn buffer_leaks(until: f64, drains: bool, beside: bool, seed: u64) -> (Verdict, bool) {
    let plan = Plan { snapshots: 50, every_ms: 1000, jitter: 0.0, mode: Mode::Exact, iterations: false, steps: 5 };
    let mut world = World::new(plan, seed);
    let buffer = world.site("app::take", "alloc::collections::vec_deque::VecDeque<T,A>::grow");
    let entries = world.site("app::take", "alloc::string::String::clone");
    let (mut own, mut queue, mut block, mut length) = (Vec::new(), std::collections::VecDeque::new(), None, 0_u64);
    let end = until * world.length();
    own.push(Box::new(move |w: &mut World| {
        let block = block.get_or_insert_with(|| w.birth(buffer, 24 * 4));
        for _ in 0..40 {
            let size = 64 + w.random.below(64) as u64;
            queue.push_back(w.birth(entries, size));
            let full = w.now > end;
            for _ in 0..u32::from(full) * (1 + u32::from(drains)) {
                queue.pop_front().into_iter().for_each(|entry| w.free(entry));
            }
            length = if beside { length + 1 } else { length.max(queue.len() as u64) };
            while length * 24 > block.size() {
                let larger = block.size() * 2;
                w.resize(block, larger);
            }
        }
    }) as crate::world::Behaviour);
    let judgement = judge(&series(&run(&mut world, &mut own, false, &[]).snapshots), &JudgeOptions::default());
    let grows =
        |finding: &leakcheck::analysis::Finding| finding.stack.plumbing.iter().any(|name| name.contains("VecDeque"));
    (judgement.verdict, judgement.findings.iter().any(|one| one.verdict == Verdict::Leaking && grows(one)))
}

/// Steps of a buffer look like a leak up to the moment when the next one is long overdue; its entries know better.
#[test]
fn a_buffer_is_as_bounded_as_its_entries() {
    for seed in 0..6 {
        for until in [0.45, 0.55, 0.65] {
            assert_eq!(buffer_leaks(until, false, false, seed), (Verdict::Bounded, false), "until {until}");
            assert!(!buffer_leaks(until, true, false, seed).1, "until {until}, drains");
        }
        // Entries that are not its own excuse nothing.
        assert_eq!(buffer_leaks(0.3, false, true, seed), (Verdict::Leaking, true));
        assert_eq!(buffer_leaks(2.0, false, false, seed), (Verdict::Leaking, true));
    }
}

/// The table of a set of numbers grows and grows, in a function whose entries of another map are bounded, and by chance as many
/// as a table of that size may be at rest on.
#[test]
fn a_table_that_grows_is_not_excused_by_what_is_beside_it() {
    for beside in [300, 500, 800] {
        let plan = Plan { snapshots: 60, every_ms: 1000, jitter: 0.0, mode: Mode::Exact, iterations: false, steps: 4 };
        let mut world = World::new(plan, 3);
        let table = world.site("app::take", "hashbrown::raw::RawTable<T,A>::reserve_rehash");
        let entries = world.site("app::take", "alloc::string::String::clone");
        let (mut block, mut held, mut numbers) = (None, std::collections::VecDeque::new(), 0_u64);
        let grow = move |w: &mut World| {
            let block = block.get_or_insert_with(|| w.birth(table, 4 * 9 + 16));
            numbers += 3;
            while numbers * 8 / 7 > (block.size() - 16) / 9 {
                let larger = (block.size() - 16) * 2 + 16;
                w.resize(block, larger);
            }
            for _ in 0..40 {
                held.push_back(w.birth(entries, 100));
                if held.len() > beside {
                    held.pop_front().into_iter().for_each(|entry| w.free(entry));
                }
            }
        };
        let snapshots = run(&mut world, &mut [Box::new(grow) as crate::world::Behaviour], false, &[]).snapshots;
        let judgement = judge(&series(&snapshots), &JudgeOptions::default());
        let leaking = judgement.findings.iter().find(|finding| finding.verdict == Verdict::Leaking);
        let names = leaking.map(|finding| finding.stack.plumbing.join(" ")).unwrap_or_default();
        assert!(names.contains("RawTable"), "{beside}: {judgement:?}");
    }
}

/// Whatever the user calls warm-up, what comes and goes is judged without a panic.
#[test]
fn a_long_warm_up_does_no_harm() {
    for name in ["backlog_steady", "replaced_by_larger", "ttl_short", "sessions"] {
        let mut world = World::new(
            Plan { snapshots: 60, every_ms: 1000, jitter: 0.0, mode: Mode::Exact, iterations: false, steps: 4 },
            5,
        );
        let mut part = Part::new(&mut world, 1.0);
        (shapes::named(name).build)(&mut part);
        let mut behaviours = part.behaviours;
        let series = series(&run(&mut world, &mut behaviours, false, &[]).snapshots);
        for warm_up_ms in [0, 20_000, 40_000, 55_000, u64::MAX] {
            let options = JudgeOptions { warm_up_ms: Some(warm_up_ms), ..JudgeOptions::default() };
            let _ = judge(&series, &options);
        }
    }
}

/// A program that ends at the very moment of a snapshot has dropped what it leaked, or part of it, in the last one or two.
#[test]
fn a_program_seen_while_it_ends_leaks_all_the_same() {
    for seed in 0..8 {
        let (snapshots, guilty) = service(seed, Mode::Exact, true);
        for seen in 1..=2 {
            let mut ended = snapshots.clone();
            let last = ended.last().unwrap().clone();
            for step in 0..=seen {
                let mut next = last.clone();
                next.sequence += 1 + step;
                next.elapsed_ms += if step == seen { 1002 } else { 500 * (step + 1) };
                next.taken_unix_ms += next.elapsed_ms - last.elapsed_ms;
                next.reason = if step == seen { Reason::Exit } else { Reason::Periodic };
                for site in &mut next.sites {
                    site.counters.freed = site.counters.allocated;
                    site.survivors.clear();
                }
                next.totals = next.sites.iter().fold(Counters::default(), |sum, site| sum.plus(site.counters));
                ended.push(next);
            }
            let judgement = judge(&series(&ended), &JudgeOptions::default());
            let leaking = judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Leaking);
            let mut names =
                leaking.filter_map(|finding| finding.stack.frames.first()).map(|frame| &frame.function.name);
            assert!(names.any(|name| guilty.contains(name)), "seed {seed}, {seen}: {judgement:?}");
        }
    }
}

#[test]
fn nothing_and_next_to_nothing_is_inconclusive() {
    let (snapshots, _) = service(1, Mode::Exact, true);
    for count in 1..5 {
        let judgement = judge(&series(&snapshots[..count]), &JudgeOptions::default());
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert!(judgement.findings.iter().all(|finding| finding.verdict != Verdict::Leaking));
    }
    let mut empty = snapshots[0].clone();
    empty.sites.clear();
    empty.generations.clear();
    empty.totals = Counters::default();
    let mut series = Series::new(&empty);
    for _ in 0..20 {
        series.push(&empty);
    }
    assert!(judge(&series, &JudgeOptions::default()).findings.is_empty());
}
