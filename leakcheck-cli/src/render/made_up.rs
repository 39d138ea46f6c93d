//! A report with everything in it, for tests of the outputs: what they look like must not hang on what the analysis
//! says of some data.

use super::{CheckReport, Judged, JudgedAll};
use leakcheck::analysis::{Cause, Evidence, Finding, Judgement, PerIteration, Rate, Standing, TimeToLimit, Verdict};
use leakcheck::format;
use leakcheck::model::{Amount, FoldedStack, Function, Series, SiteKey, SizeSummary, fold};

/// The file that is kept as an example of the format.
const SNAPSHOT: &str = include_str!("../../../leakcheck/tests/golden/snapshot-1.1.json");

pub(super) fn report() -> CheckReport {
    let snapshot = format::from_json(SNAPSHOT.as_bytes()).expect("the golden file is sound");
    let findings = vec![
        Finding {
            cause: Cause::UnboundedCache,
            rate_bytes_per_second: Some(Rate { estimate: 943_718.4, low: 891_289.6, high: 996_147.2 }),
            rate_blocks_per_second: Some(Rate { estimate: 120.0, low: 118.0, high: 122.0 }),
            per_iteration: Some(PerIteration { blocks: 1.0, bytes: 184.0, relative_error: 0.02 }),
            evidence: vec![
                Evidence {
                    rule: "survivors",
                    verdict: Verdict::Leaking,
                    log_odds: 6.5,
                    text: "blocks born in 58 of 60 generations are still live | none is older than the cache's limit, \
                           since there is none"
                        .to_owned(),
                },
                Evidence { rule: "silent", verdict: Verdict::Leaking, log_odds: 0.1, text: String::new() },
            ],
            advice: "Bound the map: an LRU, a time to live, or remove entries.".to_owned(),
            ..finding(Verdict::Leaking, "shop::cache::Cache<K,V>::remember::{{closure}}", ("src/cache.rs", 31))
        },
        Finding {
            more_ms: Some(40_000),
            standing: Some(Standing::New),
            ..finding(Verdict::Inconclusive, "shop::feed::poll", ("/home/me/shop/src/feed.rs", 5))
        },
        Finding { settled_ms: Some(12_000), ..finding(Verdict::Bounded, "shop::pool::connect", ("src/pool.rs", 71)) },
        Finding {
            standing: Some(Standing::Known),
            rate_bytes_per_second: Some(Rate { estimate: 2048.0, low: 1024.0, high: 3072.0 }),
            ..finding(Verdict::Leaking, "shop::log::append", ("src/log.rs", 7))
        },
        Finding {
            accepted: Some("leak:intern".to_owned()),
            ..finding(Verdict::Leaking, "shop::words::intern", ("src/words.rs", 3))
        },
    ];
    let judgement = Judgement {
        verdict: Verdict::Leaking,
        findings,
        notes: vec!["2 stacks ended early at code without unwind information".to_owned()],
        more_ms: None,
        time_to_limit: Some(TimeToLimit {
            limit_bytes: 512 << 20,
            ms: 11_400_000,
            earliest_ms: 9_600_000,
            latest_ms: Some(14_400_000),
        }),
        resident: None,
        resources: Vec::new(),
        sites_judged: 5,
    };
    let processes = vec![Judged { series: Series::new(&snapshot), judgement, self_test: None }];
    CheckReport::of(JudgedAll { processes, restarts: None, peers: Vec::new() }, 10, "soak".to_owned())
}

fn finding(verdict: Verdict, function: &str, place: (&str, u32)) -> Finding {
    Finding {
        verdict,
        probability: 0.5,
        cause: Cause::Unknown,
        key: SiteKey { code: 0xc0de, lines: 0x11e5 },
        stack: stack(function, place),
        scope: (verdict == Verdict::Leaking).then(|| "requests".to_owned()),
        live: Amount::new(54_000, 56_623_104),
        growth_bytes: 55_679_386,
        growth_blocks: 53_100,
        rate_bytes_per_second: None,
        rate_blocks_per_second: None,
        per_iteration: None,
        size: Some(SizeSummary { smallest: 16, largest: 4096 }),
        threads: vec!["worker-1".to_owned(), "worker-2".to_owned()],
        modules: vec!["/srv/shop/bin/shop".to_owned()],
        evidence: Vec::new(),
        advice: String::new(),
        more_ms: None,
        settled_ms: None,
        standing: None,
        accepted: None,
    }
}

fn stack(function: &str, (file, line): (&str, u32)) -> FoldedStack {
    let frame =
        |name: &str, file: &str, line| Function { name: name.into(), file: Some(file.into()), line: Some(line) };
    let dependency = |number| {
        let file = "/home/me/.cargo/registry/src/index-0123456789abcdef/tokio-1.54.1/src/task.rs";
        frame(&format!("tokio::task::poll_{number}"), file, number)
    };
    fold(&[
        frame("alloc::vec::Vec<T,A>::push", "/rustc/abc/library/alloc/src/vec/mod.rs", 2442),
        frame(function, file, line),
        dependency(1),
        dependency(2),
        dependency(3),
        frame("shop::main", "src/main.rs", 12),
    ])
}
