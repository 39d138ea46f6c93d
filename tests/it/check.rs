//! `leakcheck check`.

use crate::command::{Folder, command, leakcheck, line};
use crate::recorded::{Recorded, site};
use serde_json::Value;

fn verdict(folder: &Folder, arguments: &str) -> (i32, Value) {
    let said = line(folder, &format!("check --format json {arguments}"));
    assert!(!said.stdout.is_empty(), "{said:?}");
    (said.code, serde_json::from_str(&said.stdout).unwrap())
}

#[test]
fn the_first_line_says_whether_where_and_how_fast() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    let said = line(&folder, "check soak");
    assert_eq!(said.code, 1);
    assert_eq!(said.stderr, "");
    let first = said.stdout.lines().next().unwrap();
    assert!(first.starts_with("leaking: 3 sites, 1.16 MiB/s together; worst: shop::cache::remember (src/cache.rs:31)"));
    for name in ["shop::session::keep_alive  src/session.rs:88", "shop::events::Bus::subscribe  src/events.rs:140"] {
        assert!(said.stdout.contains(name), "{name} in {}", said.stdout);
    }
    assert!(!said.stdout.contains("RawVec"), "plumbing is folded: {}", said.stdout);
    assert!(said.stdout.ends_with("next: see it grow with `leakcheck plot soak -o heap.png`\n"), "{}", said.stdout);
}

#[test]
fn what_is_flat_does_not_leak() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    let said = line(&folder, "check --strict soak");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("nothing leaks: 3 sites judged, 60 snapshots over 59.0 s; "), "{}", said.stdout);
}

#[test]
fn too_little_is_inconclusive_and_fails_only_when_strict() {
    let folder = Folder::new();
    Recorded { snapshots: 2, ..Recorded::leaking() }.write(&folder.join("soak"));
    let lenient = line(&folder, "check soak");
    assert_eq!(lenient.code, 0);
    assert!(lenient.stdout.starts_with("inconclusive: "), "{}", lenient.stdout);
    assert_eq!(line(&folder, "check soak --strict").code, 3);
}

#[test]
fn growth_below_the_minimum_rate_is_no_leak() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    assert_eq!(verdict(&folder, "soak").0, 1);
    let (code, report) = verdict(&folder, "soak --min-rate 500KiB/s");
    assert_eq!(code, 1);
    let leaking = report["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == "leaking");
    assert_eq!(leaking.count(), 1);
    assert_eq!(verdict(&folder, "soak --min-rate 1GiB/s").0, 0);
}

#[test]
fn folders_files_and_patterns_give_the_same() {
    let folder = Folder::new();
    let recorded = Recorded { snapshots: 20, ..Recorded::leaking() };
    let mut files = recorded.write(&folder.join("soak"));
    let by_folder = line(&folder, "check --format json soak").stdout;
    files.reverse();
    let by_files = leakcheck(&folder, ["check", "--format", "json"].map(Into::into).into_iter().chain(files));
    assert_eq!(by_files.stdout, by_folder);
    let by_pattern = leakcheck(&folder, ["check", "--format", "json", "soak/*-4711-*.json"]);
    assert_eq!(by_pattern.stdout, by_folder);
    let twice = leakcheck(&folder, ["check", "--format", "json", "soak", "soak/*.json", "./soak"]);
    assert_eq!(twice.stdout, by_folder);
}

#[test]
fn processes_are_told_apart_and_the_worst_decides() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    Recorded { pid: 22, executable: "/usr/bin/worker".into(), ..Recorded::flat() }.write(&folder.join("soak"));
    let (code, report) = verdict(&folder, "soak");
    assert_eq!(code, 1);
    assert_eq!(report["verdict"], "leaking");
    let processes = report["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 2);
    let pids: Vec<_> = processes.iter().map(|process| process["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, [22, 4711]);
    assert_eq!(processes[0]["verdict"], "bounded");
    for finding in report["findings"].as_array().unwrap() {
        let leaking = finding["verdict"] == "leaking";
        assert!(!leaking || finding["process"] == 1, "{finding}");
    }
    let text = line(&folder, "check soak").stdout;
    assert!(text.starts_with("leaking: 3 sites in 1 of 2 processes, "), "{text}");
    assert!(text.contains("\nbounded: worker, pid 22 on web-1: 60 snapshots"), "{text}");
}

#[test]
fn json_has_the_promised_keys() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    let (code, report) = verdict(&folder, "soak");
    assert_eq!(code, 1);
    let worst = &report["findings"][0];
    assert_eq!(worst["verdict"], "leaking");
    let frame = &worst["site"]["frames"][0];
    assert_eq!(frame["function"], "shop::cache::remember");
    assert_eq!(frame["file"], "src/cache.rs");
    assert_eq!(frame["line"], 31);
    assert_eq!(worst["site"]["title_frame"], 0);
    assert_eq!(worst["site"]["key"].as_str().unwrap().len(), 33);
    let rate = worst["rate_bytes_per_second"].as_object().unwrap();
    let number = |key: &str| rate[key].as_f64().unwrap();
    assert!(number("low") <= number("estimate") && number("estimate") <= number("high"));
    assert!((number("estimate") - 900.0 * 1024.0).abs() < 90.0 * 1024.0, "{rate:?}");
    assert!(worst["live_bytes"].as_u64().unwrap() > 50 << 20);
    for key in ["cause", "live_blocks", "growth_bytes", "evidence"] {
        assert!(!worst[key].is_null(), "{key}");
    }
}

#[test]
fn markdown_is_a_table_with_details() {
    let folder = Folder::new();
    let mut recorded = Recorded::leaking();
    recorded.sites[0].stack[2].0 = "<shop::Cache<K, V> as shop::Store|Odd>::put".to_owned();
    recorded.write(&folder.join("soak"));
    let said = line(&folder, "check soak --format markdown");
    assert_eq!(said.code, 1);
    assert!(said.stdout.starts_with("**leaking: 3 sites, "), "{}", said.stdout);
    let row = said.stdout.lines().find(|line| line.starts_with("| 1 |")).unwrap();
    assert!(row.starts_with("| 1 | leaking | `shop::Cache::put` src/cache.rs:31 | 900 KiB/s | "), "{row}");
    assert_eq!(row.matches('|').count(), 7, "{row}");
}

#[test]
fn only_the_top_sites_are_shown_and_the_rest_is_counted() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    let text = line(&folder, "check soak --top 1").stdout;
    assert!(text.contains(" 1. leaking "), "{text}");
    assert!(!text.contains(" 2. leaking "), "{text}");
    assert!(text.contains("… and 2 more; --top 3 shows them all"), "{text}");
}

#[test]
fn colour_comes_only_when_asked_for_or_on_a_terminal() {
    let folder = Folder::new();
    Recorded { snapshots: 8, ..Recorded::flat() }.write(&folder.join("soak"));
    let escape = '\u{1b}';
    assert!(!line(&folder, "check soak").stdout.contains(escape));
    assert!(line(&folder, "check soak --color always").stdout.contains(escape));
    assert!(!line(&folder, "check soak --color never").stdout.contains(escape));
    assert!(!line(&folder, "check soak --color always --format json").stdout.contains(escape));
    let plain = command(&folder).args(["check", "soak"]).env("NO_COLOR", "1").output().unwrap();
    assert!(!String::from_utf8(plain.stdout).unwrap().contains(escape));
}

#[test]
fn names_cannot_speak_to_the_terminal() {
    let folder = Folder::new();
    let sites = vec![site("shop::evil\u{1b}[2J\u{7}", ("src/a\u{1b}b.rs", 1), |t| 500 * t)];
    Recorded { sites, ..Recorded::default() }.write(&folder.join("soak"));
    for format in ["text", "markdown"] {
        let said = line(&folder, &format!("check soak --format {format}"));
        assert_eq!(said.code, 1);
        assert!(!said.stdout.contains(['\u{1b}', '\u{7}']), "{}", said.stdout);
    }
}

#[test]
fn a_recorder_at_work_does_not_disturb() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    let expected = line(&folder, "check soak").stdout;
    std::fs::write(folder.join("soak/leakcheck-4711-000060.json.partial"), "{\"format\":{\"na").unwrap();
    std::fs::write(folder.join("soak/.leakcheck-4711.partial"), "").unwrap();
    std::fs::write(folder.join("soak/heap.png"), [0x89, b'P', b'N', b'G']).unwrap();
    let said = line(&folder, "check soak");
    assert_eq!((said.code, said.stdout.as_str()), (0, expected.as_str()));
    assert_eq!(said.stderr, "");
}

#[test]
fn another_json_file_in_the_folder_is_left_out_aloud() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    std::fs::write(folder.join("soak/report.json"), "{\"verdict\": \"bounded\"}").unwrap();
    let said = line(&folder, "check soak");
    assert_eq!(said.code, 0);
    assert_eq!(said.stderr, "leakcheck: note: left out soak/report.json: not a leakcheck snapshot\n");
}

#[test]
fn snapshots_are_known_by_content_whatever_their_name() {
    let folder = Folder::new();
    for (place, file) in Recorded::flat().write(&folder.join("soak")).into_iter().enumerate() {
        std::fs::rename(&file, folder.join(&format!("soak/{:03}.snap", 999 - place))).unwrap();
    }
    assert_eq!(line(&folder, "check soak --strict").code, 0);
}
