//! `leakcheck check` as a gate: what fails, what is accepted, what a baseline knows, and the forms that CI servers read.

use crate::command::{Folder, Said, line};
use crate::recorded::{Recorded, site};
use roxmltree::Document;
use serde_json::Value;
use std::fs;

/// A folder with `soak`, in which three sites leak, and `flat`, in which none does.
fn prepared() -> Folder {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    Recorded { pid: 9, ..Recorded::flat() }.write(&folder.join("flat"));
    folder
}

fn one_site(live_blocks: impl Fn(u64) -> u64 + 'static) -> Recorded {
    let mut made_up = site("shop::cache::remember", ("src/cache.rs", 31), live_blocks);
    made_up.churn_blocks = 1000;
    Recorded { sites: vec![made_up], ..Recorded::default() }
}

fn json(folder: &Folder, arguments: &str) -> (i32, Value) {
    let said = line(folder, &format!("check --format json {arguments}"));
    (said.code, serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}")))
}

#[track_caller]
fn fails(said: &Said, because: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{said:?}");
    assert!(said.stderr.starts_with("leakcheck: failed to "), "{}", said.stderr);
    assert!(said.stderr.contains(because), "expected '{because}' in {}", said.stderr);
}

#[test]
fn what_fails_is_chosen() {
    let folder = prepared();
    Recorded { snapshots: 2, ..Recorded::leaking() }.write(&folder.join("short"));
    for (arguments, code) in [
        ("soak", 1),
        ("flat", 0),
        ("short", 0),
        ("soak --fail-on leaking", 1),
        ("short --fail-on leaking", 0),
        ("soak --fail-on inconclusive", 1),
        ("flat --fail-on inconclusive", 0),
        ("short --fail-on inconclusive", 3),
        ("short --strict", 3),
        ("missing", 2),
    ] {
        assert_eq!(line(&folder, &format!("check {arguments}")).code, code, "{arguments}");
    }
}

#[test]
fn accepted_leaks_do_not_count_and_are_counted() {
    let folder = prepared();
    let accepted =
        "# Known since spring.\n\nleak:shop::cache::\n  leak:^src/session.rs$ \r\nleak:Bus::subscribe\nleak:gone\n";
    fs::write(folder.join("leaks.txt"), accepted).unwrap();
    let said = line(&folder, "check soak --accept leaks.txt --strict");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("nothing leaks: "), "{}", said.stdout);
    let first = said.stdout.lines().next().unwrap();
    assert!(first.ends_with("; not counted: 3 accepted"), "{first}");
    assert!(said.stdout.contains("\n1 finding accepted by leak:shop::cache::, 51.0 MiB live\n"), "{}", said.stdout);
    let idle = "leakcheck: note: leak:gone (leaks.txt:6) accepts nothing here; remove it if that leak is mended\n";
    assert_eq!(said.stderr, idle);
    let (code, report) = json(&folder, "soak --accept leaks.txt");
    assert_eq!(code, 0);
    assert_eq!(report["verdict"], "bounded");
    assert_eq!(report["accepted"].as_array().unwrap().len(), 3);
    assert_eq!(report["accepted"][0]["pattern"], "leak:shop::cache::");
    assert_eq!(report["accepted"][0]["findings"], 1);
    assert_eq!(report["findings"][0]["verdict"], "leaking");
    assert_eq!(report["findings"][0]["counts"], false);
    for format in ["text", "json", "markdown", "junit", "sarif", "github"] {
        let said = line(&folder, &format!("check soak --accept leaks.txt --format {format}"));
        assert_eq!(said.code, 0, "{format}");
        assert!(said.stdout.contains("leak:shop::cache::"), "{format}: {}", said.stdout);
    }
}

#[test]
fn what_is_not_accepted_still_fails_and_files_add_up() {
    let folder = prepared();
    fs::write(folder.join("a.txt"), "leak:cache*remember\n").unwrap();
    fs::write(folder.join("b.txt"), "leak:session\nleak:events\n").unwrap();
    let some = line(&folder, "check soak --accept a.txt");
    assert_eq!(some.code, 1);
    assert!(some.stdout.starts_with("leaking: 2 sites, "), "{}", some.stdout);
    assert!(!some.stdout.contains(" 1. leaking      shop::cache"), "{}", some.stdout);
    assert_eq!(line(&folder, "check soak --accept a.txt --accept b.txt").code, 0);
    // A series too short to judge is not made good by what is accepted.
    Recorded { snapshots: 2, ..Recorded::leaking() }.write(&folder.join("short"));
    let short = line(&folder, "check short --strict --accept a.txt");
    assert_eq!((short.code, short.stderr.as_str()), (3, ""), "{short:?}");
}

#[test]
fn a_file_of_accepted_leaks_that_is_wrong_is_named_with_its_line() {
    let folder = prepared();
    for (text, because) in [
        ("# x\nrace:shop\n", "understand leaks.txt:2: expected leak:PATTERN such as leak:QuoteCache"),
        ("QuoteCache\n", "found 'QuoteCache'"),
        ("leak:\n", "understand leaks.txt:1: 'leak:' would accept every leak; name a part of a function"),
        ("leak:*\n", "would accept every leak"),
    ] {
        fs::write(folder.join("leaks.txt"), text).unwrap();
        fails(&line(&folder, "check soak --accept leaks.txt"), because);
    }
    fs::write(folder.join("leaks.txt"), b"leak:a\nleak:\xff\n").unwrap();
    fails(&line(&folder, "check soak --accept leaks.txt"), "understand leaks.txt:2: the line is not UTF-8 text");
    fails(&line(&folder, "check soak --accept none.txt"), "read the accepted leaks in none.txt: No such file");
    // Before the long work.
    fails(&line(&folder, "run --accept none.txt -- touch was-run"), "none.txt");
    assert!(!folder.join("was-run").exists());
}

#[test]
fn a_leak_that_the_baseline_has_is_known_and_a_faster_one_counts() {
    let folder = Folder::new();
    one_site(|t| 900 * t).write(&folder.join("main"));
    one_site(|t| 905 * t).write(&folder.join("same"));
    one_site(|t| 3600 * t).write(&folder.join("faster"));
    let (code, report) = json(&folder, "same --baseline main");
    assert_eq!((code, &report["verdict"]), (0, &Value::from("bounded")));
    assert_eq!(report["findings"][0]["standing"], "known");
    let text = line(&folder, "check same --baseline main").stdout;
    assert!(
        text.starts_with("nothing leaks: ") && text.contains("; not counted: 1 known from the baseline\n"),
        "{text}"
    );
    assert!(text.contains("known from the baseline, and not counted:\n"), "{text}");
    let (code, report) = json(&folder, "faster --baseline main");
    assert_eq!(code, 1);
    assert_eq!(report["findings"][0]["standing"], "faster");
    let text = line(&folder, "check faster --baseline main").stdout;
    assert!(text.contains("it grows 4.0 times as fast as in the baseline: there 900.0 KiB per second"), "{text}");
    assert_eq!(line(&folder, "check main --baseline faster").code, 0, "slower is known as well");
}

#[test]
fn a_bound_that_the_baseline_showed_is_a_bound() {
    let folder = Folder::new();
    one_site(|t| 4096.min(200 * t)).write(&folder.join("main"));
    Recorded { snapshots: 16, ..one_site(|t| 200 * t) }.write(&folder.join("still-filling"));
    one_site(|t| 200 * t).write(&folder.join("beyond"));
    assert_ne!(json(&folder, "still-filling").1["verdict"], "bounded");
    let (code, report) = json(&folder, "still-filling --strict --baseline main");
    assert_eq!((code, &report["verdict"]), (0, &Value::from("bounded")));
    assert_eq!(report["findings"][0]["standing"], "settled");
    let text = line(&folder, "check still-filling --baseline main").stdout;
    assert!(text.contains("bounded, as the baseline shows:\n"), "{text}");
    assert!(text.contains("stays below the 4.0 MiB at which it settled in the baseline"), "{text}");
    let (code, report) = json(&folder, "beyond --baseline main");
    assert_eq!((code, &report["findings"][0]["standing"]), (1, &Value::Null));
}

#[test]
fn a_new_site_is_judged_as_ever_and_said_to_be_new() {
    let folder = prepared();
    let (code, report) = json(&folder, "soak --baseline flat");
    assert_eq!(code, 1);
    assert_eq!(report["findings"][0]["standing"], "new");
    let text = line(&folder, "check soak --baseline flat").stdout;
    assert!(text.contains("evidence  it is new: in the baseline nothing was allocated here\n"), "{text}");
}

#[test]
fn a_baseline_is_known_again_after_a_rebuild() {
    let folder = Folder::new();
    one_site(|t| 900 * t).write(&folder.join("main"));
    let mut rebuilt = one_site(|t| 900 * t);
    rebuilt.sites[0].stack.iter_mut().for_each(|(_, _, line)| *line += 5);
    rebuilt.write(&folder.join("soak"));
    assert_eq!(json(&folder, "soak --baseline main").1["findings"][0]["standing"], "known");
}

#[test]
fn a_baseline_of_another_program_is_refused_and_a_short_one_is_noted() {
    let folder = prepared();
    Recorded { pid: 22, executable: "/usr/bin/worker".into(), ..Recorded::flat() }.write(&folder.join("worker"));
    fails(
        &line(&folder, "check soak --baseline worker"),
        "judge shop against the baseline worker: it is a recording of worker; name one of shop, or leave --baseline out",
    );
    Recorded { executable: "/elsewhere/shop".into(), snapshots: 3, ..Recorded::flat() }.write(&folder.join("short"));
    let said = line(&folder, "check soak --baseline short");
    assert_eq!(said.code, 1);
    let note = "note: the baseline is too short to judge; nothing is known from it";
    assert!(said.stdout.contains(note), "{}", said.stdout);
    fails(&line(&folder, "check soak --baseline none"), "read none: No such file");
    // Of two programs only the one in the baseline is compared.
    let both = line(&folder, "check soak worker --baseline flat");
    assert_eq!(both.code, 1);
    assert_eq!(both.stderr, "leakcheck: note: worker is not in the baseline flat, and judged without it\n");
}

#[test]
fn junit_is_xml_with_a_case_for_each_site() {
    let folder = prepared();
    fs::write(folder.join("leaks.txt"), "leak:session\n").unwrap();
    let said = line(&folder, "check soak flat --accept leaks.txt --format junit");
    assert_eq!(said.code, 1);
    let document = Document::parse(&said.stdout).unwrap();
    let root = document.root_element();
    assert_eq!((root.tag_name().name(), root.attribute("failures")), ("testsuites", Some("2")));
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(root.attribute("tests"), Some(cases.len().to_string().as_str()));
    let failures: Vec<_> = document.descendants().filter(|node| node.has_tag_name("failure")).collect();
    assert!(failures[0].attribute("message").unwrap().starts_with("leaking: 900 KiB/s, "));
    let text = failures[0].text().unwrap();
    for part in ["rate ", "evidence ", "stack ", "shop::cache::remember  src/cache.rs:31\n", "do "] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let skipped: Vec<_> = document.descendants().filter_map(|node| node.attribute("message")).collect();
    assert!(skipped.iter().any(|message| message.starts_with("accepted by leak:session: 200 KiB/s")), "{skipped:?}");
    let suites: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testsuite")).collect();
    assert_eq!(suites.len(), 2);
}

#[test]
fn junit_passes_what_is_flat_and_skips_what_is_not_known() {
    let folder = prepared();
    let flat = line(&folder, "check flat --format junit").stdout;
    let document = Document::parse(&flat).unwrap();
    let case = document.descendants().find(|node| node.has_tag_name("testcase")).unwrap();
    assert_eq!((case.attribute("name"), case.children().count()), (Some("nothing leaks"), 0));
    Recorded { snapshots: 2, ..Recorded::leaking() }.write(&folder.join("short"));
    for (arguments, code, tag) in [("short", 0, "skipped"), ("short --fail-on inconclusive", 3, "failure")] {
        let said = line(&folder, &format!("check {arguments} --format junit"));
        assert_eq!(said.code, code);
        let document = Document::parse(&said.stdout).unwrap();
        assert_eq!(document.descendants().filter(|node| node.has_tag_name(tag)).count(), 1, "{}", said.stdout);
    }
}

#[test]
fn names_of_any_kind_keep_xml_and_commands_whole() {
    let folder = Folder::new();
    let sites = vec![site("shop::<\"&\u{1b}\u{7}'>%0A::evil\n::x", ("src/a,b:c \u{fffe}.rs", 1), |t| 500 * t)];
    Recorded { sites, ..Recorded::default() }.write(&folder.join("soak"));
    let junit = line(&folder, "check soak --format junit");
    assert_eq!(junit.code, 1);
    Document::parse(&junit.stdout).unwrap();
    let github = line(&folder, "check soak --format github").stdout;
    assert!(github.starts_with("::error file=src/a%2Cb%3Ac \u{fffe}.rs,line=1,title="), "{github}");
    assert!(github.lines().all(|line| line.starts_with("::")), "{github}");
    serde_json::from_str::<Value>(&line(&folder, "check soak --format sarif").stdout).unwrap();
}

#[test]
fn sarif_has_the_structure_that_code_scanning_reads() {
    let folder = prepared();
    fs::write(folder.join("leaks.txt"), "leak:session\n").unwrap();
    let said = line(&folder, "check soak --accept leaks.txt --baseline flat --format sarif");
    assert_eq!(said.code, 1);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!((&driver["name"], &driver["version"]), (&"leakcheck".into(), &env!("CARGO_PKG_VERSION").into()));
    let rules = driver["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["id"].is_string() && rule["help"]["text"].is_string()));
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    let mut fingerprints = Vec::new();
    for result in results {
        let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[rule]["id"], result["ruleId"]);
        assert!(result["message"]["text"].as_str().is_some_and(|text| text.contains("leaks")), "{result}");
        assert_eq!(result["baselineState"], "new");
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.starts_with("src/"), "{uri}");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
        fingerprints.push(result["partialFingerprints"]["leakcheckSite/v1"].as_str().unwrap());
        let accepted = uri == "src/session.rs";
        assert_eq!(result["level"], if accepted { "note" } else { "error" });
        assert_eq!(result["suppressions"].is_array(), accepted);
    }
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 3);
    let flat: Value = serde_json::from_str(&line(&folder, "check flat --format sarif").stdout).unwrap();
    assert_eq!(flat["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn github_annotates_lines_and_sums_up() {
    let folder = prepared();
    let said = line(&folder, "check soak --top 2 --format github");
    assert_eq!(said.code, 1);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.stdout);
    assert!(lines[0].starts_with("::error file=src/cache.rs,line=31,title=leak%3A shop%3A%3Acache"), "{}", lines[0]);
    assert!(lines[0].contains("::900 KiB/s, "), "{}", lines[0]);
    assert!(lines[2].starts_with("::notice title=leakcheck::leaking: 3 sites, "), "{}", lines[2]);
}

#[test]
fn verbs_without_a_verdict_say_which_forms_they_have() {
    let folder = Folder::new();
    for form in ["junit", "sarif", "github"] {
        for verb in ["diff a.json b.json", "plot soak -o heap.png"] {
            let said = line(&folder, &format!("{verb} --format {form}"));
            fails(&said, "has the forms text, json and markdown");
        }
    }
    assert!(folder.names().is_empty());
}

#[test]
fn run_gives_every_form_and_takes_every_option() {
    let folder = prepared();
    fs::write(folder.join("leaks.txt"), "leak:remember\nleak:session\nleak:events\n").unwrap();
    fs::write(folder.join("record.sh"), "echo mine; cp soak/* \"$LEAKCHECK_OUT\"\n").unwrap();
    for format in ["junit", "sarif", "github"] {
        let said = line(&folder, &format!("run --out {format} --format {format} -- sh record.sh"));
        assert_eq!((said.code, said.stderr.as_str()), (1, "mine\n"), "{said:?}");
        let options = "--strict --accept leaks.txt --limit 1GiB";
        let said = line(&folder, &format!("run --out accepted-{format} --format {format} {options} -- sh record.sh"));
        assert_eq!(said.code, 0, "{said:?}");
    }
    Recorded { executable: "/usr/bin/worker".into(), ..Recorded::flat() }.write(&folder.join("worker"));
    let because = "judge the snapshots, which stay in kept: judge shop against the baseline worker: ";
    let wrong = line(&folder, "run --out kept --format json --baseline worker -- sh record.sh");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains(because), "{}", wrong.stderr);
    assert_eq!(line(&folder, "run --out known --baseline soak -- sh record.sh").code, 0);
}

#[test]
fn when_a_limit_is_reached_is_said() {
    let folder = Folder::new();
    one_site(|t| 1024 * t).write(&folder.join("soak"));
    let text = line(&folder, "check soak --limit 1GiB").stdout;
    let said = text.lines().find(|line| line.starts_with("reaches 1.00 GiB in ")).unwrap_or_else(|| panic!("{text}"));
    assert!(said.contains(" min ") && said.contains(" to ") && said.ends_with(')'), "{said}");
    assert!(line(&folder, "check soak --limit 1GiB --format markdown").stdout.contains("**reaches 1.00 GiB in "));
    let limit = json(&folder, "soak --limit 1GiB").1["processes"][0]["time_to_limit"].clone();
    assert_eq!(limit["limit_bytes"], 1_u64 << 30);
    assert!(limit["earliest_ms"].as_u64() <= limit["ms"].as_u64(), "{limit}");
    assert!(line(&folder, "check soak --limit 1MiB").stdout.contains("\nis at its limit of 1.00 MiB\n"));
    assert!(!line(&folder, "check soak").stdout.contains("reaches"));
}

#[test]
fn growth_that_restarts_hide_is_a_leak() {
    let folder = Folder::new();
    Recorded::restarted(&folder.join("soak"));
    let said = line(&folder, "check soak");
    assert_eq!(said.code, 1, "{said:?}");
    let first = said.stdout.lines().next().unwrap();
    assert!(first.starts_with("leaking: restarts of shop hide a leak: 4 processes of about "), "{first}");
    assert!(first.contains(" grow by 50.0 KiB/s each"), "{first}");
    let (_, report) = json(&folder, "soak");
    assert_eq!(report["verdict"], "leaking");
    assert_eq!(report["restarts"]["lives"], 4);
    assert_eq!(report["restarts"]["processes"], serde_json::json!([0, 1, 2, 3]));
    for (format, part) in [
        ("markdown", "**leaking: restarts of shop hide a leak"),
        ("junit", "<failure type=\"leak\" message=\"restarts of shop hide a leak"),
        ("sarif", "\"ruleId\": \"restarts\""),
        ("github", "::error title=restarts of shop hide a leak::"),
    ] {
        let said = line(&folder, &format!("check soak --format {format}"));
        assert_eq!(said.code, 1, "{format}");
        assert!(said.stdout.contains(part), "{format}: {}", said.stdout);
    }
    // Lives that are long enough to show a bound explain themselves.
    for life in 0..3 {
        let made_up =
            Recorded { pid: 200 + life, began_ms: u64::from(life) * 90_000, ..one_site(|t| 4096.min(200 * t)) };
        made_up.write(&folder.join("batches"));
    }
    assert_eq!(line(&folder, "check batches").code, 0);
}
