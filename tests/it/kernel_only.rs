//! Series that the kernel alone made: every verb takes them, and no output names a site.

use crate::command::{Folder, line};
use crate::recorded::write_kernel_only;
use serde_json::Value;

fn prepared() -> Folder {
    let folder = Folder::new();
    write_kernel_only(&folder.join("memory"), 11, 60, |t| 40.0 + t / 4.0, |t| 20 + t % 3);
    write_kernel_only(&folder.join("descriptors"), 12, 120, |_| 40.0, |t| 23 + t * 5 / 4);
    write_kernel_only(&folder.join("bounded"), 13, 60, |t| 40.0 + (t % 7.0) / 8.0, |t| 20 + t % 3);
    write_kernel_only(&folder.join("short"), 14, 4, |t| 40.0 + t, |t| 20 + t);
    write_kernel_only(&folder.join("workers"), 21, 60, |_| 40.0, |_| 20);
    write_kernel_only(&folder.join("workers"), 22, 60, |t| 40.0 + t / 4.0, |_| 20);
    write_kernel_only(&folder.join("workers"), 23, 60, |_| 41.0, |_| 20);
    folder
}

#[track_caller]
fn check(folder: &Folder, arguments: &str, code: i32, parts: &[&str]) {
    let said = line(folder, arguments);
    assert_eq!((said.code, said.stderr.as_str()), (code, ""), "{arguments}: {said:?}");
    for part in parts {
        assert!(said.stdout.contains(part), "{arguments}: '{part}' in {}", said.stdout);
    }
}

#[test]
fn the_first_line_says_what_leaks() {
    let folder = prepared();
    for (arguments, code, parts) in [
        (
            "check memory",
            1,
            &[
                "leaking: memory of shop (pid 11), 256 KiB/s, 42.2 MiB to 54.8 MiB\n",
                "a cache that is still filling would look the same",
                "#[global_allocator]",
                "bounded       open file descriptors",
            ][..],
        ),
        (
            "check descriptors",
            1,
            &[
                "leaking: open file descriptors of shop (pid 12), 1.2/s, 45 to 171\n",
                "and never fell back; reaches its limit of 1,024 in 11 min",
                "ls -l /proc/12/fd",
            ],
        ),
        ("check bounded", 0, &["nothing leaks that the kernel's figures show: 60 snapshots over 59.0 s; resident"]),
        ("check short", 0, &["inconclusive: 4 snapshots over 3.0 s do not tell yet; run about "]),
        ("check short --strict", 3, &[]),
        (
            "check workers",
            1,
            &["leaking: memory of shop (pid 22)", "1 of 3 processes of shop that are alike leaks: pid 22"],
        ),
        ("check memory --format markdown", 1, &["**leaking: memory of shop", "- leaking: memory grew from 42.2 MiB"]),
        (
            "check memory --format junit",
            1,
            &["name=\"memory\">\n      <failure type=\"leak\" message=\"leaking: memory grew", "name=\"threads\"/>"],
        ),
        ("check memory --format github", 1, &["::error title=leak%3A memory of shop::pid 11: memory grew"]),
        ("check memory --format sarif", 1, &["\"ruleId\": \"memory\"", "\"leakcheckResource/v1\": \"shop:memory\""]),
    ] {
        check(&folder, arguments, code, parts);
    }
}

#[test]
fn what_is_known_or_accepted_does_not_count() {
    let folder = prepared();
    std::fs::write(folder.join("leaks.txt"), "leak:memory\n").unwrap();
    check(&folder, "check memory --accept leaks.txt", 0, &["; not counted: 1 accepted", "by leak:memory"]);
    check(&folder, "check memory --baseline memory", 0, &["; not counted: 1 known from the baseline"]);
    check(&folder, "check memory --baseline bounded", 1, &["leaking: memory of shop"]);
}

#[test]
fn two_snapshots_tell_how_resident_memory_grew() {
    let folder = prepared();
    let files = |a: u32, b: u32| format!("memory/leakcheck-11-{a:06}.json memory/leakcheck-11-{b:06}.json");
    let grew = "resident memory grew by 5.00 MiB in 20.0 s (256 KiB/s), 49.0 MiB → 54.0 MiB; no sites are known";
    check(&folder, &format!("diff {}", files(0, 20)), 0, &[grew, "snapshot 20, no recorder", "#[global_allocator]"]);
    check(&folder, &format!("diff {}", files(3, 3)), 0, &["resident memory did not grow, 49.8 MiB → 49.8 MiB"]);
    check(&folder, &format!("diff --format markdown {}", files(20, 0)), 0, &["**resident memory shrank by 5.00 MiB"]);
}

#[test]
fn the_picture_says_whose_memory_it_shows() {
    let folder = prepared();
    check(&folder, "plot memory -o memory.svg", 0, &["leaking: memory of shop (pid 11)"]);
    let picture = std::fs::read_to_string(folder.join("memory.svg")).unwrap();
    assert!(picture.contains("shop, resident memory: memory leaking, 256 KiB/s"), "{picture}");
}

#[test]
fn programs_read_figures_and_peers() {
    let folder = prepared();
    let said = line(&folder, "check workers --format json");
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["findings"], serde_json::json!([]));
    assert_eq!(report["peers"][0]["leaking"], serde_json::json!([1]));
    let leaking = report["resources"].as_array().unwrap().iter().filter(|one| one["verdict"] == "leaking");
    let leaking: Vec<&Value> = leaking.collect();
    assert_eq!(leaking.len(), 1);
    assert_eq!((&leaking[0]["process"], &leaking[0]["resource"]), (&1.into(), &"memory".into()));
    assert_eq!(report["processes"][1]["source"], "kernel");
}
