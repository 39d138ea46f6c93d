//! What is written is what `docs/` says: nothing is missing there, and nothing is written that is not described.

use crate::command::{Folder, line};
use crate::recorded::{Recorded, write_kernel_only};
use leakcheck::format;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn document(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// The schema with unknown keys denied in every object: readers must ignore them, writers must not write them.
fn strict(mut schema: Value) -> jsonschema::Validator {
    deny_unknown_keys(&mut schema);
    jsonschema::draft202012::new(&schema).unwrap()
}

fn deny_unknown_keys(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if keys.contains_key("properties") {
                keys.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            keys.values_mut().for_each(deny_unknown_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(deny_unknown_keys),
        _ => {}
    }
}

#[track_caller]
fn valid(schema: &jsonschema::Validator, what: &str, instance: &Value) {
    let errors: Vec<String> = schema.iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}");
}

#[test]
fn snapshots_are_as_documented() {
    let schema = strict(document("docs/snapshot.schema.json"));
    for golden in ["snapshot-1.0.json", "snapshot-1.1.json", "snapshot-1.2.json"] {
        valid(&schema, golden, &document(&format!("leakcheck/tests/golden/{golden}")));
    }
    for sequence in [0, 3, 59] {
        let text = format::to_json(&Recorded::leaking().snapshot(sequence));
        valid(&schema, "made up", &serde_json::from_str(&text).unwrap());
    }
    for wrong in ["{}", "{\"format\": {\"name\": \"leakcheck-snapshot\", \"major\": 2, \"minor\": 0}}"] {
        assert!(!schema.is_valid(&serde_json::from_str(wrong).unwrap()));
    }
}

/// The golden file uses every field, so the schema and the page are held to all of them.
#[test]
fn every_field_is_in_the_golden_file_and_on_the_page() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md")).unwrap();
    let schema = document("docs/snapshot.schema.json");
    let mut described = Vec::new();
    collect_keys(&schema, &mut described);
    let mut used = Vec::new();
    collect_object_keys(&document("leakcheck/tests/golden/snapshot-1.2.json"), &mut used);
    for key in described {
        assert!(used.contains(&key), "{key} is not in the golden file");
        assert!(page.contains(&key), "{key} is not on the page");
    }
}

fn collect_keys(schema: &Value, keys: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

fn collect_object_keys(value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            keys.extend(object.keys().cloned());
            object.values().for_each(|value| collect_object_keys(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_object_keys(value, keys)),
        _ => {}
    }
}

#[test]
fn check_reports_are_as_documented() {
    let schema = strict(document("docs/check.schema.json"));
    let folder = Folder::new();
    Recorded::leaking().write(&folder.join("leaking"));
    Recorded::flat().write(&folder.join("flat"));
    Recorded { snapshots: 1, ..Recorded::leaking() }.write(&folder.join("short"));
    Recorded::restarted(&folder.join("restarted"));
    write_kernel_only(&folder.join("kernel"), 11, 60, |t| 40.0 + t / 4.0, |t| 20 + t);
    write_kernel_only(&folder.join("kernel"), 12, 60, |_| 40.0, |_| 20);
    fs::write(folder.join("leaks.txt"), "leak:remember\n").unwrap();
    for arguments in [
        "check leaking",
        "check flat",
        "check short",
        "check leaking flat --top 0",
        "check leaking --accept leaks.txt --limit 1GiB",
        "check leaking --baseline flat",
        "check leaking --baseline leaking",
        "check flat --baseline short",
        "check restarted",
        "check kernel",
        "run -- true",
        "run -- false",
        "run --every 10ms -- sleep 0.2",
    ] {
        let said = line(&folder, &format!("{} {}", arguments.replacen(' ', " --format json ", 1), ""));
        let report: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{arguments}: {e} {said:?}"));
        valid(&schema, arguments, &report);
    }
    assert!(!schema.is_valid(&serde_json::json!({"verdict": "leaking", "findings": []})));
}

#[test]
fn diff_reports_are_as_documented() {
    let schema = strict(document("docs/diff.schema.json"));
    let folder = Folder::new();
    let files = Recorded::leaking().write(&folder.join("leaking"));
    let other = Recorded { pid: 5, ..Recorded::flat() }.write(&folder.join("flat"));
    for (baseline, current) in
        [(&files[0], &files[50]), (&files[50], &files[0]), (&files[1], &files[1]), (&files[9], &other[9])]
    {
        let said = line(&folder, &format!("diff --format json {} {}", baseline.display(), current.display()));
        valid(&schema, "diff", &serde_json::from_str(&said.stdout).unwrap());
    }
}
