//! A watch with everything in it, for tests of the outputs that show one.

use super::watch_view::{EvidenceKind, HistoryPoint, OwnCost, ProcessState, ProcessView, SiteView, WatchView};
use leakcheck::analysis::Verdict;
use leakcheck::model::{Resident, Usage};

/// Two processes: one with the recorder that leaks, and one of which the kernel's figures alone are known.
pub(crate) fn view() -> WatchView {
    WatchView {
        elapsed_ms: 192_000,
        taken_unix_ms: 1_769_860_800_000,
        ends_ms: Some(600_000),
        verdict: Verdict::Leaking,
        headline: "leaking: 1 site in 1 of 2 processes, 922 KiB/s: shop::cache::Cache::remember (src/cache.rs:31), a \
                   cache without a bound"
            .to_owned(),
        processes: vec![recorded(), kernel_only()],
        ended_before: 3,
        events: vec!["helper 4790 ended".to_owned(), "worker 4712 began".to_owned()],
        own: OwnCost { cpu_ms: 610, rss_bytes: 9_200_000 },
    }
}

fn recorded() -> ProcessView {
    let live = |at: u64| 40_000_000 + at * 940_000;
    let point = |at: u64| HistoryPoint {
        elapsed_ms: at * 1000,
        rss_bytes: 90_000_000 + at * 900_000 + at % 7 * 1_000_000,
        live_bytes: Some(live(at)),
    };
    ProcessView {
        pid: 4711,
        name: "shop".to_owned(),
        state: ProcessState::Running,
        evidence: EvidenceKind::Exact,
        verdict: Verdict::Leaking,
        more_ms: None,
        rate_bytes_per_second: Some(943_718.4),
        resident: Resident {
            rss_bytes: point(192).rss_bytes,
            anonymous_bytes: Some(200_000_000),
            file_bytes: Some(60_000_000),
            shared_bytes: Some(0),
            swap_bytes: Some(4096),
            threads: Some(9),
            ..Resident::default()
        },
        usage: Usage {
            file_descriptors: Some(34),
            mappings: Some(210),
            cpu_ms: Some(81_250),
            minor_faults: Some(190_000),
            major_faults: Some(12),
            ..Usage::default()
        },
        live_bytes: Some(live(192)),
        history: (0..=192).map(point).collect(),
        sites: vec![
            site("shop::cache::Cache::remember  src/cache.rs:31", Verdict::Leaking, (180_481_024, 980_000), 943_718.4),
            site("shop::feed::poll  src/feed.rs:5", Verdict::Inconclusive, (3_200_000, 1_200_000), 2048.0),
            SiteView {
                rate_bytes_per_second: None,
                live_over_time: vec![200_000_000; 64],
                ..site("shop::pool::connect  src/pool.rs:71", Verdict::Bounded, (200_000_000, 512), 0.0)
            },
        ],
        site_counts: [1, 1, 43],
        remarks: vec!["threads grow by 2 an hour".to_owned()],
    }
}

fn site(label: &str, verdict: Verdict, (live_bytes, live_blocks): (u64, u64), rate: f64) -> SiteView {
    let live_over_time = (1..=64).map(|at| live_bytes / 64 * at).collect();
    SiteView {
        label: label.to_owned(),
        verdict,
        live_bytes,
        live_blocks,
        rate_bytes_per_second: Some(rate),
        live_over_time,
    }
}

fn kernel_only() -> ProcessView {
    let point =
        |at: u64| HistoryPoint { elapsed_ms: at * 1000, rss_bytes: 31_000_000 + at % 5 * 200_000, live_bytes: None };
    ProcessView {
        pid: 4712,
        name: "worker".to_owned(),
        state: ProcessState::Running,
        evidence: EvidenceKind::Kernel,
        verdict: Verdict::Inconclusive,
        more_ms: Some(40_000),
        rate_bytes_per_second: None,
        resident: Resident { rss_bytes: 31_400_000, threads: Some(4), ..Resident::default() },
        usage: Usage { file_descriptors: Some(7), ..Usage::default() },
        live_bytes: None,
        history: (150..=192).map(point).collect(),
        sites: Vec::new(),
        site_counts: [0; 3],
        remarks: Vec::new(),
    }
}
