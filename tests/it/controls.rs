//! What `leakcheck check` says beside the sites: whether a planted leak would have shown, and whose memory it is that grows
//! when no site does.

use crate::command::{Folder, line};
use crate::recorded::Recorded;
use leakcheck::format;
use leakcheck::model::Resident;
use serde_json::Value;
use std::fs;

fn json(folder: &Folder, arguments: &str) -> (i32, Value) {
    let said = line(folder, &format!("check --format json {arguments}"));
    (said.code, serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}")))
}

#[test]
fn a_gate_shows_that_it_can_fail() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("flat"));
    let (code, said) = json(&folder, "--self-test flat");
    let test = &said["processes"][0]["self_test"];
    assert_eq!((code, &test["passed"], &test["tries"], &test["more_ms"]), (0, &true.into(), &20.into(), &Value::Null));
    let least = test["least_bytes_per_second"].as_f64().unwrap();
    assert!(least > 0.0 && least < test["planted_bytes_per_second"].as_f64().unwrap(), "{said}");
    // A rate well above what the run shows passes, one well below does not, and says how much longer to run.
    let rate = |factor: f64| format!("--self-test --min-rate {}B/s flat", (least * factor).ceil());
    assert_eq!(json(&folder, &rate(4.0)).0, 0);
    let (code, said) = json(&folder, &rate(0.1));
    assert_eq!((code, &said["verdict"]), (3, &"inconclusive".into()));
    assert!(said["processes"][0]["self_test"]["more_ms"].as_u64().unwrap() > 60_000, "{said}");
    assert_eq!(json(&folder, "flat").1["processes"][0]["self_test"], Value::Null);
}

#[test]
fn a_gate_that_cannot_fail_fails() {
    let folder = Folder::new();
    Recorded { snapshots: 4, ..Recorded::flat() }.write(&folder.join("short"));
    let said = line(&folder, "check --self-test short");
    assert_eq!(said.code, 3);
    assert!(said.stdout.contains("self-test failed") && said.stdout.contains("it is too short"), "{said:?}");
    // A leak is a leak all the same.
    Recorded { pid: 9, ..Recorded::leaking() }.write(&folder.join("soak"));
    assert_eq!(line(&folder, "check --self-test soak short").code, 1);
}

#[test]
fn the_control_is_in_every_form() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("flat"));
    for (arguments, passed) in [("flat", true), ("--min-rate 1B/s flat", false)] {
        let said = |form: &str| line(&folder, &format!("check --self-test --format {form} {arguments}")).stdout;
        let word = if passed { "self-test passed" } else { "self-test failed" };
        assert!(said("text").contains(word) && said("markdown").contains(word), "{}", said("text"));
        let level = if passed { "::notice" } else { "::error" };
        assert!(
            said("github").contains(&format!("{level} title=leakcheck%3A self-test::{word}")),
            "{}",
            said("github")
        );
        let case = said("junit");
        assert!(case.contains("a planted leak is seen") && case.contains("<failure") != passed, "{case}");
        assert!(said("sarif").contains(word));
    }
}

/// A flat heap in a process whose resident memory grows by what `resident` says at each snapshot.
fn beside(folder: &Folder, name: &str, resident: impl Fn(u64, &mut Resident)) {
    let recorded = Recorded::flat();
    fs::create_dir_all(folder.join(name)).unwrap();
    for sequence in 0..recorded.snapshots {
        let mut snapshot = recorded.snapshot(sequence);
        let live = snapshot.totals.live().bytes;
        let mut own = Resident {
            rss_bytes: live + (24 << 20),
            anonymous_bytes: Some(live + (16 << 20)),
            file_bytes: Some(8 << 20),
            allocator_held_bytes: Some(live + (2 << 20)),
            allocator_used_bytes: Some(live),
            thread_stack_bytes: Some(1 << 20),
            ..Resident::default()
        };
        resident(sequence, &mut own);
        snapshot.resident = Some(own);
        format::write(&folder.join(name).join(format!("leakcheck-4711-{sequence:06}.json")), &snapshot).unwrap();
    }
}

#[test]
fn memory_that_is_no_sites_is_told_apart() {
    const MIB: u64 = 1 << 20;
    let folder = Folder::new();
    let grow = |field: fn(&mut Resident) -> &mut Option<u64>, at: u64, own: &mut Resident| {
        own.rss_bytes += at * MIB;
        *field(own) = field(own).map(|bytes| bytes + at * MIB);
    };
    beside(&folder, "retention", |at, own| {
        grow(|own| &mut own.allocator_held_bytes, at, own);
        own.anonymous_bytes = own.anonymous_bytes.map(|bytes| bytes + at * MIB);
    });
    beside(&folder, "files", |at, own| grow(|own| &mut own.file_bytes, at, own));
    beside(&folder, "stacks", |at, own| grow(|own| &mut own.thread_stack_bytes, at, own));
    beside(&folder, "still", |_, _| {});
    for (name, part) in
        [("retention", "allocator_retention"), ("files", "mapped_files"), ("stacks", "thread_stacks"), ("still", "")]
    {
        let (code, said) = json(&folder, name);
        let growth = &said["processes"][0]["resident_growth"];
        assert_eq!((code, &said["verdict"]), (0, &"bounded".into()), "{name}");
        assert_eq!(growth["growing"].as_str().unwrap_or_default(), part, "{name}: {growth}");
    }
    let said = line(&folder, "check retention").stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("not a leak of yours") && said.contains("MALLOC_ARENA_MAX"), "{said}");
}
