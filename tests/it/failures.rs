//! Everything that goes wrong: damaged, foreign, newer and missing files given to every command, outputs that cannot be
//! written, readers that go away.

use crate::command::{Folder, Said, command, line};
use crate::recorded::Recorded;
use leakcheck::format;
use std::fs;
use std::process::Stdio;

/// Every command that reads snapshots, with a place for the file in question.
fn readers(bad: &str) -> [String; 6] {
    [
        format!("check {bad}"),
        format!("check {bad} --format json"),
        format!("check good.json {bad} --format markdown"),
        format!("diff {bad} good.json"),
        format!("diff good.json {bad}"),
        format!("plot {bad} -o heap.png"),
    ]
}

/// `text` given to every command is one clear line and exit code 2.
#[track_caller]
fn refused(text: &[u8], because: &str) {
    let folder = Folder::new();
    format::write(&folder.join("good.json"), &Recorded::flat().snapshot(3)).unwrap();
    fs::write(folder.join("bad.json"), text).unwrap();
    for arguments in readers("bad.json") {
        let said = line(&folder, &arguments);
        one_error(&said, &arguments, because);
        assert!(said.stderr.contains("bad.json"), "{arguments}: {}", said.stderr);
    }
    assert_eq!(folder.names(), ["bad.json", "good.json"]);
}

#[track_caller]
fn one_error(said: &Said, arguments: &str, because: &str) {
    assert_eq!(said.code, 2, "{arguments}: {said:?}");
    assert_eq!(said.stdout, "", "{arguments}");
    assert!(said.stderr.starts_with("leakcheck: failed to "), "{arguments}: {}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 1, "{arguments}: {}", said.stderr);
    assert!(said.stderr.contains(because), "{arguments}: expected '{because}' in {}", said.stderr);
}

fn good() -> String {
    format::to_json(&Recorded::flat().snapshot(3))
}

#[test]
fn truncated_files_are_refused() {
    let text = good();
    for length in [60, text.len() / 2, text.len() - 1] {
        refused(&text.as_bytes()[..length], "the snapshot is damaged or cut short");
    }
}

#[test]
fn empty_and_garbage_files_are_refused() {
    refused(b"", "not a leakcheck snapshot");
    refused(b"\0\xff\xfe\x80garbage\n", "not a leakcheck snapshot");
    refused(&[b'['; 100_000], "not a leakcheck snapshot");
    refused(b"\x89PNG\r\n\x1a\n", "not a leakcheck snapshot");
}

#[test]
fn foreign_json_is_refused() {
    for text in ["{}", "[]", "17", "null", "{\"format\": null}", "{\"format\": 3}", "{\"verdict\": \"bounded\"}"] {
        refused(text.as_bytes(), "not a leakcheck snapshot");
    }
    refused(b"{\"format\": {\"name\": \"heap-profile\", \"major\": 1}}", "not a leakcheck snapshot");
}

#[test]
fn a_newer_major_version_is_refused_with_the_cure() {
    let newer = good().replacen("\"major\":1", "\"major\":2", 1);
    refused(newer.as_bytes(), "written in format 2.x by a newer leakcheck; this one reads up to 1.x: update leakcheck");
    let alien = "{\"format\": {\"name\": \"leakcheck-snapshot\", \"major\": 7}, \"everything\": [\"else\"]}";
    refused(alien.as_bytes(), "written in format 7.x");
}

#[test]
fn a_newer_minor_version_with_unknown_fields_is_read() {
    let folder = Folder::new();
    let newer = good().replacen("\"minor\":0", "\"minor\":9,\"extra\":[1]", 1).replacen(
        "\"sites\":",
        "\"new\":{},\"sites\":",
        1,
    );
    fs::write(folder.join("a.json"), newer).unwrap();
    assert_eq!(line(&folder, "check a.json").code, 0);
}

#[test]
fn files_that_contradict_themselves_are_refused() {
    let mut snapshot = Recorded::flat().snapshot(3);
    snapshot.stacks.truncate(2);
    refused(format::to_json(&snapshot).as_bytes(), "the snapshot contradicts itself");
    let wrong_type = good().replacen("\"sequence\":3", "\"sequence\":-3", 1);
    refused(wrong_type.as_bytes(), "the snapshot is damaged or cut short");
}

#[test]
fn a_damaged_file_in_a_folder_is_named_and_nothing_is_judged() {
    let folder = Folder::new();
    let files = Recorded::flat().write(&folder.join("soak"));
    fs::write(&files[30], &fs::read(&files[30]).unwrap()[..500]).unwrap();
    for arguments in ["check soak", "check soak --format json", "plot soak -o heap.png"] {
        let said = line(&folder, arguments);
        one_error(&said, arguments, "soak/leakcheck-4711-000030.json");
        assert!(said.stderr.contains("leave it out"), "{}", said.stderr);
    }
    fs::remove_file(&files[30]).unwrap();
    assert_eq!(line(&folder, "check soak --strict").code, 0);
}

#[test]
fn what_is_not_there_is_said() {
    let folder = Folder::new();
    format::write(&folder.join("good.json"), &Recorded::flat().snapshot(3)).unwrap();
    for arguments in readers("missing.json") {
        one_error(&line(&folder, &arguments), &arguments, "read missing.json: No such file or directory");
    }
    one_error(&line(&folder, "check none-*.json"), "pattern", "no file matches this pattern");
    one_error(&line(&folder, "check a[.json"), "pattern", "a[.json");
}

#[test]
fn an_empty_folder_says_how_to_fill_it() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("out/deeper")).unwrap();
    let cure = "record some with `leakcheck run --out out -- PROGRAM`";
    one_error(&line(&folder, "check out"), "check out", cure);
    Recorded::flat().write(&folder.join("out/deeper"));
    one_error(&line(&folder, "check out"), "check out", "name one of them, such as out/deeper");
}

#[test]
fn special_files_do_not_hang() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    let made = std::process::Command::new("mkfifo").arg(folder.join("soak/pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(line(&folder, "check soak").code, 0);
    one_error(&line(&folder, "check /dev/null"), "check /dev/null", "not a leakcheck snapshot");
}

#[test]
fn a_bad_place_for_the_picture_is_found_before_the_work() {
    let folder = Folder::new();
    fs::create_dir(folder.join("taken.png")).unwrap();
    // The series is not even looked at.
    let said = line(&folder, "plot missing -o no/such/folder/heap.png");
    one_error(&said, "plot", "open no/such/folder/heap.png to draw to: No such file or directory");
    let said = line(&folder, "plot missing -o taken.png --force");
    one_error(&said, "plot", "open taken.png to draw to: Is a directory");
    let said = line(&folder, "run --png no/such/heap.png -- touch was-run");
    one_error(&said, "run", "open no/such/heap.png to draw to");
    assert!(!folder.join("was-run").exists());
    fs::write(folder.join("file"), "").unwrap();
    one_error(&line(&folder, "run --out file/below -- touch was-run"), "run", "make the folder file/below");
    one_error(&line(&folder, "man --out file/below"), "man", "write manual pages to file/below");
    assert!(!folder.join("was-run").exists());
}

#[test]
fn a_full_disk_is_said() {
    let folder = Folder::new();
    Recorded::flat().write(&folder.join("soak"));
    std::os::unix::fs::symlink("/dev/full", folder.join("full.png")).unwrap();
    one_error(&line(&folder, "plot soak -o full.png --force"), "plot", "write full.png: No space left on device");
    for arguments in ["check soak", "diff soak/leakcheck-4711-000000.json soak/leakcheck-4711-000001.json", "man"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = command(&folder).args(arguments.split(' ')).stdout(full).output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{arguments}");
        let stderr = String::from_utf8(said.stderr).unwrap();
        assert_eq!(stderr, "leakcheck: failed to write to standard output: No space left on device (os error 28)\n");
    }
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("soak"));
    for (arguments, code) in
        [("check soak", 1), ("check soak --format json", 1), ("completions bash", 0), ("--help", 0)]
    {
        let mut child =
            command(&folder).args(arguments.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = child.wait_with_output().unwrap();
        assert_eq!(said.status.code(), Some(code), "{arguments}");
        assert_eq!(String::from_utf8(said.stderr).unwrap(), "", "{arguments}");
    }
}
