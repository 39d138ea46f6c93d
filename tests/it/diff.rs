//! `leakcheck diff`.

use crate::command::{Folder, line};
use crate::recorded::{Recorded, site};
use leakcheck::format;
use serde_json::Value;

fn two(folder: &Folder, baseline: (&Recorded, u64), current: (&Recorded, u64)) {
    format::write(&folder.join("a.json"), &baseline.0.snapshot(baseline.1)).unwrap();
    format::write(&folder.join("b.json"), &current.0.snapshot(current.1)).unwrap();
}

fn small() -> Recorded {
    let sites = vec![
        site("shop::cache::remember", ("src/cache.rs", 31), |t| 100 + 10 * t),
        site("shop::pool::connect", ("src/pool.rs", 71), |t| 64 - t),
        site("shop::page::render", ("src/page.rs", 101), |_| 7),
    ];
    Recorded { sites, ..Recorded::default() }
}

#[test]
fn growth_is_ranked_by_site() {
    let folder = Folder::new();
    two(&folder, (&small(), 0), (&small(), 30));
    let said = line(&folder, "diff a.json b.json");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert_eq!(
        said.stdout,
        "\
grew by 270 KiB in 30.0 s (9.00 KiB/s), 171 KiB → 441 KiB live; most at shop::cache::remember (src/cache.rs:31), +300 KiB

baseline  a.json: shop, pid 4711, snapshot 0, every block recorded
current   b.json: shop, pid 4711, snapshot 30, every block recorded

   growth  blocks  percent      live  site
 +300 KiB    +300   +300 %   400 KiB  shop::cache::remember  src/cache.rs:31
                                      from shop::handle  src/main.rs:57
                                      from shop::main  src/main.rs:12
                                      blocks of 24 of the 24 generations born since are still live,
                                      older ones as well as newer ones
-30.0 KiB     -30    -47 %  34.0 KiB  shop::pool::connect  src/pool.rs:71
                                      from shop::handle  src/main.rs:57
                                      from shop::main  src/main.rs:12

1 site grew, 1 shrank, 0 kept their size while allocating; 0 new, 0 gone.
A diff shows growth, not a verdict: `leakcheck check` judges a whole series.
"
    );
}

#[test]
fn markdown_has_the_same_rows() {
    let folder = Folder::new();
    two(&folder, (&small(), 0), (&small(), 30));
    let said = line(&folder, "diff a.json b.json --format markdown --top 1");
    assert_eq!(
        said.stdout,
        "\
**grew by 270 KiB in 30.0 s (9.00 KiB/s), 171 KiB → 441 KiB live; most at shop::cache::remember (src/cache.rs:31), +300 KiB**

- Baseline: `a.json`, `shop`, pid 4711, snapshot 0
- Current: `b.json`, `shop`, pid 4711, snapshot 30

| growth | blocks | percent | live | site |
|--:|--:|--:|--:|---|
| +300 KiB | +300 | +300 % | 400 KiB | `shop::cache::remember` src/cache.rs:31 |

… and 1 more.

- `shop::cache::remember` src/cache.rs:31: blocks of 24 of the 24 generations born since are still live, older ones as well as newer ones

1 site grew, 1 shrank, 0 kept their size while allocating; 0 new, 0 gone.
"
    );
}

/// What was built at one moment stands behind a leak, even when it is several times as large.
#[test]
fn what_goes_on_growing_comes_first() {
    let folder = Folder::new();
    let sites = vec![
        site("shop::dictionary::load", ("src/dictionary.rs", 5), |t| if t < 10 { 0 } else { 1200 }),
        site("shop::cache::remember", ("src/cache.rs", 31), |t| 100 + 10 * t),
    ];
    let recorded = Recorded { sites, ..Recorded::default() };
    two(&folder, (&recorded, 0), (&recorded, 30));
    let said: Value = serde_json::from_str(&line(&folder, "diff a.json b.json --format json").stdout).unwrap();
    let of = |place: usize, key: &str| said["sites"][place][key].clone();
    assert_eq!((of(0, "growth_blocks"), of(1, "growth_blocks")), (300.into(), 1200.into()));
    assert!(of(0, "probability").as_f64().unwrap() > 0.8 && of(1, "probability").as_f64().unwrap() < 0.1, "{said}");
    assert_eq!(of(0, "evidence")["verdict"], "leaking");
}

#[test]
fn a_snapshot_does_not_differ_from_itself() {
    let folder = Folder::new();
    two(&folder, (&small(), 5), (&small(), 5));
    let said = line(&folder, "diff a.json a.json");
    assert_eq!(said.code, 0);
    assert!(said.stdout.starts_with("no growth: 216 KiB live\n"), "{}", said.stdout);
    assert!(said.stdout.contains("No site differs."), "{}", said.stdout);
}

#[test]
fn other_recordings_are_compared_and_it_is_said() {
    let folder = Folder::new();
    let mut rebuilt = Recorded { pid: 99, ..small() };
    // A rebuild moves lines; a site goes, another one comes.
    rebuilt.sites[0].stack[2].2 = 35;
    rebuilt.sites[2] = site("shop::feed::poll", ("src/feed.rs", 5), |_| 3);
    two(&folder, (&small(), 3), (&rebuilt, 10));
    let said = line(&folder, "diff a.json b.json --format json");
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["same_recording"], false);
    let mut changes: Vec<(&str, &str)> = report["sites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|site| (site["site"]["frames"][0]["function"].as_str().unwrap(), site["change"].as_str().unwrap()))
        .collect();
    // Two of them shrank by as much.
    changes.sort_unstable();
    assert_eq!(
        changes,
        [
            ("shop::cache::remember", "grown"),
            ("shop::feed::poll", "new"),
            ("shop::page::render", "gone"),
            ("shop::pool::connect", "shrunk"),
        ]
    );
    let text = line(&folder, "diff a.json b.json").stdout;
    assert!(text.contains("note: the snapshots are of different recordings"), "{text}");
    assert!(text.contains("  new  "), "{text}");
    assert!(text.contains("  gone  "), "{text}");
}

#[test]
fn sampled_against_exact_is_said() {
    let folder = Folder::new();
    let sampled = Recorded { mode: leakcheck::model::Mode::Sampled { interval_bytes: 512 << 10 }, ..small() };
    two(&folder, (&small(), 3), (&sampled, 10));
    let text = line(&folder, "diff a.json b.json").stdout;
    assert!(text.contains("sampled, one allocation per 512 KiB"), "{text}");
    assert!(text.contains("one snapshot is exact and the other sampled"), "{text}");
}

#[test]
fn two_folders_are_refused_with_the_cure() {
    let folder = Folder::new();
    small().write(&folder.join("soak"));
    let said = line(&folder, "diff soak soak");
    assert_eq!(said.code, 2);
    assert_eq!(said.stderr, "leakcheck: failed to read soak: it is a folder; name one snapshot file in it\n");
}
