//! The snapshot file: what is written is read back, old files stay readable, and no input makes the reader panic.

use leakcheck::analysis::{JudgeOptions, diff, judge};
use leakcheck::format::{from_json, is_snapshot, read, read_header, to_json, write};
use leakcheck::model::{
    Amount, Counters, Frame, FrameId, Function, Generation, Losses, Mode, Module, ModuleId, Process, Reason, Recording,
    Resident, ScopeId, Series, Site, SiteId, SizeSummary, Snapshot, Source, StackId, StackNode, Survivors, ThreadId,
    TimelinePoint, Usage,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const GOLDEN: &str = include_str!("golden/snapshot-1.2.json");
/// Files of former versions are read forever.
const GOLDEN_1_0: &str = include_str!("golden/snapshot-1.0.json");
const GOLDEN_1_1: &str = include_str!("golden/snapshot-1.1.json");

/// A snapshot that uses every field.
fn everything() -> Snapshot {
    let counters = |allocated: (u64, u64), freed: (u64, u64), resized| Counters {
        allocated: Amount::new(allocated.0, allocated.1),
        freed: Amount::new(freed.0, freed.1),
        resized,
    };
    let function =
        |name: &str, file: Option<&str>, line| Function { name: name.into(), file: file.map(Into::into), line };
    Snapshot {
        process: Process {
            pid: 4711,
            started_unix_ms: 1_769_860_800_000,
            executable: "/srv/shop/target/release/shop".into(),
            build_id: Some("c0ffee00".into()),
            host: "web-1".into(),
            parent_pid: Some(4700),
        },
        recording: Recording {
            leakcheck_version: "0.1.0".into(),
            mode: Mode::Sampled { interval_bytes: 524_288 },
            started_unix_ms: 1_769_860_800_020,
            every_ms: 2000,
            source: Source::Kernel,
            predating_bytes: Some(12_582_912),
        },
        sequence: 7,
        reason: Reason::Checkpoint,
        label: Some("after warm-up".into()),
        taken_unix_ms: 1_769_860_814_020,
        elapsed_ms: 14_000,
        iterations: 1200,
        generations: vec![
            Generation { number: 0, started_elapsed_ms: 0 },
            Generation { number: 1, started_elapsed_ms: 12_000 },
        ],
        totals: counters((30, 4096), (10, 1024), 4),
        resident: Some(Resident {
            rss_bytes: 41_943_040,
            anonymous_bytes: Some(31_457_280),
            file_bytes: Some(10_485_760),
            shared_bytes: Some(0),
            swap_bytes: Some(0),
            virtual_bytes: Some(1_073_741_824),
            stack_bytes: Some(135_168),
            thread_stack_bytes: Some(65_536),
            peak_rss_bytes: Some(52_428_800),
            allocator_held_bytes: Some(8_388_608),
            allocator_used_bytes: Some(6_291_456),
            limit_bytes: Some(536_870_912),
            threads: Some(3),
        }),
        usage: Some(Usage {
            file_descriptors: Some(23),
            file_descriptors_limit: Some(1024),
            mappings: Some(310),
            pss_bytes: Some(40_000_000),
            cpu_ms: Some(12_340),
            minor_faults: Some(70_000),
            major_faults: Some(12),
            group_bytes: Some(60_000_000),
            pressure_permille: Some(3),
        }),
        losses: Losses {
            resized_unknown_blocks: 1,
            blocks_without_stack: 2,
            stacks_depth_limited: 3,
            stacks_truncated: 4,
            sites_over_limit: 5,
            generations_over_limit: 6,
            out_of_memory_blocks: 7,
            snapshots_failed: 8,
            snapshots_late: 9,
            timeline_dropped: 10,
            forked_children: 11,
        },
        recorder_bytes: 2_097_152,
        timeline: vec![TimelinePoint { elapsed_ms: 13_500, live_bytes: 3000, rss_bytes: 41_000_000 }],
        modules: vec![Module { path: "/srv/shop/target/release/shop".into(), build_id: Some("c0ffee00".into()) }],
        frames: vec![
            Frame {
                module: Some(ModuleId(0)),
                offset: 4660,
                functions: vec![
                    function("alloc::vec::Vec<T,A>::push", Some("/rustc/abc/library/alloc/src/vec/mod.rs"), Some(2442)),
                    function("shop::cache::remember", Some("src/cache.rs"), Some(31)),
                ],
            },
            Frame {
                module: Some(ModuleId(0)),
                offset: 22_136,
                functions: vec![function("shop::main", Some("src/main.rs"), Some(12))],
            },
            Frame { module: None, offset: u64::MAX, functions: Vec::new() },
        ],
        stacks: vec![
            StackNode { parent: None, frame: FrameId(1) },
            StackNode { parent: Some(StackId(0)), frame: FrameId(0) },
            StackNode { parent: None, frame: FrameId(2) },
        ],
        scopes: vec!["requests".into()],
        threads: vec!["main".into(), "worker".into()],
        sites: vec![
            Site {
                id: SiteId(0),
                stack: Some(StackId(1)),
                scope: Some(ScopeId(0)),
                counters: counters((20, 3072), (5, 512), 4),
                size: Some(SizeSummary { smallest: 16, largest: 1024 }),
                survivors: vec![
                    Survivors { generation: 0, blocks: 5, bytes: 1024 },
                    Survivors { generation: 1, blocks: 10, bytes: 1536 },
                ],
                threads: vec![ThreadId(0), ThreadId(1)],
            },
            Site {
                id: SiteId(1),
                stack: None,
                scope: None,
                counters: counters((10, 1024), (5, 512), 0),
                size: None,
                survivors: Vec::new(),
                threads: Vec::new(),
            },
        ],
    }
}

#[test]
fn the_golden_file_is_still_read_and_still_written() {
    assert_eq!(from_json(GOLDEN.as_bytes()).unwrap(), everything());
    let written: serde_json::Value = serde_json::from_str(&to_json(&everything())).unwrap();
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(
        serde_json::to_string_pretty(&written).unwrap(),
        serde_json::to_string_pretty(&golden).unwrap(),
        "a changed format needs the version rule of docs/format.md, that page, and a new golden file beside this one"
    );
}

#[test]
fn a_file_of_a_former_version_is_still_read() {
    let mut snapshot = everything();
    snapshot.process.parent_pid = None;
    snapshot.recording.source = Source::Recorder;
    snapshot.recording.predating_bytes = None;
    snapshot.usage = None;
    assert_eq!(from_json(GOLDEN_1_1.as_bytes()).unwrap(), snapshot);
    let resident = snapshot.resident.as_mut().unwrap();
    (resident.thread_stack_bytes, resident.limit_bytes) = (None, None);
    assert_eq!(from_json(GOLDEN_1_0.as_bytes()).unwrap(), snapshot);
}

#[test]
fn a_file_is_written_whole_and_read_back() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("format-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.json");
    write(&path, &everything()).unwrap();
    assert_eq!(read(&path).unwrap(), everything());
    let header = read_header(&path).unwrap();
    assert_eq!((header.sequence, header.totals), (7, everything().totals));
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.json"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_file_that_cannot_be_written_says_which() {
    let error = write(std::path::Path::new("/dev/null/a.json"), &everything()).unwrap_err();
    assert!(error.is_io());
    assert!(error.to_string().starts_with("write /dev/null/a.json: "), "{error}");
    let error = read(std::path::Path::new("/dev/null/a.json")).unwrap_err();
    assert!(error.is_io() && !error.is_foreign(), "{error}");
}

/// What is wrong is told apart, since each has its own cure.
#[test]
fn errors_are_told_apart() {
    let newer = GOLDEN.replacen("\"major\": 1", "\"major\": 2", 1);
    let error = from_json(newer.as_bytes()).unwrap_err();
    assert!(error.is_newer() && !error.is_foreign(), "{error}");
    for foreign in ["", "{}", "[1]", "{\"format\": {\"name\": \"x\", \"major\": 1}}", "\u{feff}{}"] {
        let error = from_json(foreign.as_bytes()).unwrap_err();
        assert!(error.is_foreign() && !error.is_newer(), "{foreign}: {error}");
    }
    let cut = &GOLDEN[..GOLDEN.len() / 2];
    let error = from_json(cut.as_bytes()).unwrap_err();
    assert!(!error.is_foreign() && !error.is_newer() && !error.is_io(), "{error}");
    assert!(is_snapshot(cut.as_bytes()) && !is_snapshot(b"{}"));
}

fn amount() -> impl Strategy<Value = Amount> {
    (any::<u64>(), any::<u64>()).prop_map(|(blocks, bytes)| Amount { blocks, bytes })
}

fn counters() -> impl Strategy<Value = Counters> {
    (amount(), amount(), any::<u64>()).prop_map(|(allocated, freed, resized)| Counters { allocated, freed, resized })
}

fn site() -> impl Strategy<Value = Site> {
    let survivors =
        (0..3_u32, any::<u32>().prop_map(u64::from), any::<u32>().prop_map(u64::from)).prop_map(Survivors::from);
    (
        0..6_u32,
        option::of(0..4_u32),
        option::of(Just(0_u32)),
        counters(),
        option::of((any::<u64>(), any::<u64>())),
        vec(survivors, 0..4),
    )
        .prop_map(|(id, stack, scope, counters, size, survivors)| Site {
            id: SiteId(id),
            stack: stack.map(StackId),
            scope: scope.map(ScopeId),
            counters,
            size: size.map(|(smallest, largest)| SizeSummary { smallest, largest }),
            survivors,
            threads: vec![ThreadId(0)],
        })
}

/// Sound snapshots with any names and numbers.
fn snapshot() -> impl Strategy<Value = Snapshot> {
    let function = (any::<String>(), option::of(any::<String>()), option::of(any::<u32>()))
        .prop_map(|(name, file, line)| Function { name, file, line });
    let frame =
        (any::<u64>(), vec(function, 0..3)).prop_map(|(offset, functions)| Frame { module: None, offset, functions });
    let stack = (any::<bool>(), 0..3_u32);
    let names = (any::<String>(), any::<String>(), option::of(any::<String>()));
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let timeline = vec((any::<u64>(), any::<u64>(), any::<u64>()).prop_map(TimelinePoint::from), 0..3);
    (names, numbers, counters(), vec(frame, 3), vec(stack, 4), vec(site(), 0..5), timeline).prop_map(
        |((executable, scope, label), (sequence, taken, elapsed, rss), totals, frames, stacks, sites, timeline)| {
            let mut snapshot = everything();
            snapshot.process.executable = executable;
            snapshot.label = label;
            snapshot.sequence = sequence;
            snapshot.taken_unix_ms = taken;
            snapshot.elapsed_ms = elapsed;
            snapshot.resident = Some(Resident { rss_bytes: rss, ..Resident::default() });
            snapshot.totals = totals;
            snapshot.frames = frames;
            snapshot.stacks = (0..)
                .zip(stacks)
                .map(|(place, (called, frame))| StackNode {
                    parent: (called && place > 0).then(|| StackId(place - 1)),
                    frame: FrameId(frame),
                })
                .collect();
            snapshot.scopes = vec![scope];
            snapshot.sites = sites;
            snapshot.timeline = timeline;
            snapshot
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(snapshot in snapshot()) {
        prop_assert_eq!(from_json(to_json(&snapshot).as_bytes()).unwrap(), snapshot);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(from_json(&bytes).is_err());
    }

    #[test]
    fn a_cut_file_is_refused_without_a_panic(snapshot in snapshot(), at in any::<prop::sample::Index>()) {
        let text = to_json(&snapshot);
        prop_assert!(from_json(&text.as_bytes()[..at.index(text.len())]).is_err());
    }

    /// A byte changed anywhere gives an error or some snapshot, and whatever is read can be compared and judged.
    #[test]
    fn a_changed_byte_does_no_harm(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = GOLDEN.as_bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(snapshot) = from_json(&bytes) {
            let _ = diff(&everything(), &snapshot);
            let _ = judge(&Series::new(&snapshot), &JudgeOptions::default());
        }
    }
}
proptest! {
    /// Whatever is read can be compared and judged, however wild its numbers.
    #[test]
    fn wild_numbers_are_judged_without_a_panic(a in snapshot(), b in snapshot()) {
        let _ = diff(&a, &b);
        let mut series = Series::new(&a);
        series.push(&b);
        series.push(&a);
        let _ = judge(&series, &JudgeOptions::default());
    }
}
