//! Reports as SARIF 2.1.0, for code scanning: causes are the rules, and each site that leaks, may leak or is excused is a
//! result at its line. What is bounded is no result.

use super::site_label::SiteLabel;
use super::source_place::SourcePlace;
use super::standing::{
    MEND_RESTARTS, is_known, rate_in_words, resident_in_words, resource_in_words, restarts_in_words, self_test_in_words,
};
use super::text::live_in_words;
use super::{CheckReport, Judged, program_name};
use leakcheck::analysis::{Finding, ResourceFinding, SelfTest, Standing, Verdict};
use leakcheck::model::FoldedFrame;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What paths are relative to, by the name that code scanning knows.
const ROOT: &str = "%SRCROOT%";
const RESTARTS: &str = "restarts";

/// The report of `check` and `run`: all sites, whatever `--top` says.
pub(crate) fn check(report: &CheckReport, here: &Path) -> String {
    let mut rules: Vec<Value> = Vec::new();
    let mut results: Vec<Value> = Vec::new();
    if let Some(restarts) = &report.restarts {
        let index = rule(&mut rules, RESTARTS, "growth that restarts hide", MEND_RESTARTS);
        let text = restarts_in_words(restarts, &report.processes);
        let result = json!({"ruleId": RESTARTS, "ruleIndex": index, "level": "error", "message": {"text": text}});
        results.push(result);
    }
    let mut fingerprints: Vec<String> = Vec::new();
    for finding in report.all_findings().filter(|finding| finding.verdict != Verdict::Bounded) {
        let id = json!(finding.cause);
        let id = id.as_str().unwrap_or_default();
        let index = rule(&mut rules, id, finding.cause.in_words(), &finding.advice);
        let fingerprint = fingerprint(finding, &mut fingerprints);
        results.push(result(finding, id, index, &fingerprint, here));
    }
    for (judged, finding) in report.processes.iter().flat_map(|judged| judged.resources().map(move |one| (judged, one)))
    {
        if finding.verdict != Verdict::Bounded {
            let id = json!(finding.resource);
            let id = id.as_str().unwrap_or_default();
            let index = rule(&mut rules, id, &format!("growth of {}", finding.resource.in_words()), &finding.advice);
            results.push(resource_result(judged, finding, id, index));
        }
    }
    let peers = report.peers.iter().map(|peers| json!({"level": "note", "message": {"text": peers.text}}));
    let notifications: Vec<Value> = report.processes.iter().flat_map(notifications).chain(peers).collect();
    let mut run = json!({
        "tool": {"driver": {"name": "leakcheck", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
        "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": notifications}],
        "results": results,
        "properties": {"verdict": report.verdict()},
    });
    if let Some(here) = here.to_str().filter(|here| here.starts_with('/')) {
        run["originalUriBaseIds"] = json!({ROOT: {"uri": format!("file://{}/", encoded(here.trim_end_matches('/')))}});
    }
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    });
    format!("{document:#}\n")
}

/// What leaks or may leak of the whole process: it has no place in code.
fn resource_result(judged: &Judged, finding: &ResourceFinding, id: &str, index: usize) -> Value {
    let level = match finding.verdict {
        _ if !finding.counts() => "note",
        Verdict::Leaking => "error",
        Verdict::Inconclusive | Verdict::Bounded if judged.is_recorded() => "note",
        Verdict::Inconclusive | Verdict::Bounded => "warning",
    };
    let process = &judged.series.process;
    let text = format!("{}, pid {}: {}", program_name(process), process.pid, resource_in_words(finding));
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": index,
        "level": level,
        "message": {"text": text},
        "partialFingerprints": {"leakcheckResource/v1": format!("{}:{id}", program_name(process))},
        "properties": {
            "verdict": finding.verdict,
            "probability": finding.probability,
            "perSecond": finding.rate_per_second,
        },
    });
    if let Some(pattern) = &finding.accepted {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": pattern}]);
    }
    result
}

/// The place of a rule, which is added when it is new.
fn rule(rules: &mut Vec<Value>, id: &str, name: &str, help: &str) -> usize {
    rules.iter().position(|rule| rule["id"] == id).unwrap_or_else(|| {
        let help = if help.is_empty() { name } else { help };
        rules.push(json!({
            "id": id,
            "shortDescription": {"text": name},
            "help": {"text": help},
            "defaultConfiguration": {"level": "error"},
        }));
        rules.len() - 1
    })
}

/// Names the site from commit to commit: by its functions, without lines, which move; numbered where it is not alone.
fn fingerprint(finding: &Finding, before: &mut Vec<String>) -> String {
    let code = format!("{:016x}", finding.key.code);
    let number = before.iter().filter(|one| **one == code).count() + 1;
    before.push(code.clone());
    format!("{code}:{number}")
}

fn result(finding: &Finding, rule: &str, index: usize, fingerprint: &str, here: &Path) -> Value {
    let label = SiteLabel::of_site(&finding.stack, finding.scope.as_deref());
    let level = match finding.verdict {
        _ if !finding.counts() => "note",
        Verdict::Leaking => "error",
        Verdict::Inconclusive | Verdict::Bounded => "warning",
    };
    let mut result = json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": {"text": message(finding, &label)},
        "locations": finding.stack.title().map(|frame| location(frame, here)).into_iter().collect::<Vec<_>>(),
        "partialFingerprints": {"leakcheckSite/v1": fingerprint},
        "stacks": [{"frames": finding.stack.frames.iter().map(|f| json!({"location": location(f, here)})).collect::<Vec<_>>()}],
        "properties": {
            "verdict": finding.verdict,
            "probability": finding.probability,
            "siteKey": finding.key.to_string(),
            "bytesPerSecond": finding.rate_bytes_per_second,
            "liveBytes": finding.live.bytes,
        },
    });
    if let Some(pattern) = &finding.accepted {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": pattern}]);
    }
    let state = match finding.standing {
        Some(Standing::New) => Some("new"),
        Some(Standing::Known) => Some("unchanged"),
        Some(Standing::Faster) => Some("updated"),
        Some(Standing::Settled) | None => None,
    };
    if let Some(state) = state {
        result["baselineState"] = json!(state);
    }
    result
}

fn message(finding: &Finding, label: &SiteLabel) -> String {
    let verb = match finding.verdict {
        Verdict::Leaking if is_known(finding) => "leaks, as in the baseline",
        Verdict::Leaking => "leaks",
        Verdict::Inconclusive | Verdict::Bounded => "may leak",
    };
    let rate = rate_in_words(finding).map_or_else(String::new, |rate| format!(" {rate}"));
    let mut text = format!("{} {verb}{rate}: {}.", label.name, finding.cause.in_words());
    text.push_str(&format!("\nLive: {}.", live_in_words(finding)));
    for evidence in finding.evidence.iter().filter(|evidence| !evidence.text.is_empty()) {
        text.push_str(&format!("\n- {}", evidence.text));
    }
    text
}

fn location(frame: &FoldedFrame, here: &Path) -> Value {
    let mut location = Map::new();
    location
        .insert("logicalLocations".into(), json!([{"fullyQualifiedName": frame.function.name, "kind": "function"}]));
    if let Some(place) = SourcePlace::of_frame(frame, here) {
        let artifact = if place.is_below {
            json!({"uri": encoded(&place.file), "uriBaseId": ROOT})
        } else {
            json!({"uri": format!("file://{}", encoded(&place.file))})
        };
        let mut physical = json!({"artifactLocation": artifact});
        // Lines begin at 1; 0 stands for code without one.
        if let Some(line) = place.line.filter(|line| *line > 0) {
            physical["region"] = json!({"startLine": line});
        }
        location.insert("physicalLocation".into(), physical);
    }
    Value::Object(location)
}

fn notifications(judged: &Judged) -> impl Iterator<Item = Value> {
    let told = |level: &str, text: &str| json!({"level": level, "message": {"text": text}});
    let resident = judged.judgement.resident.iter().map(move |growth| told("note", &resident_in_words(growth)));
    let level = |test: &SelfTest| if test.passed { "note" } else { "error" };
    let self_test = judged.self_test.into_iter().map(move |test| told(level(&test), &self_test_in_words(test)));
    judged.judgement.notes.iter().map(move |note| told("note", note)).chain(resident).chain(self_test)
}

/// A path as part of a URI (RFC 3986).
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_is_a_result_with_its_rule_place_and_excuse() {
        let said = check(&crate::render::made_up::report(), Path::new("/home/me"));
        let document: Value = serde_json::from_str(&said).expect("it is JSON");
        let run = &document["runs"][0];
        let levels: Vec<&Value> = run["results"].as_array().expect("results").iter().map(|one| &one["level"]).collect();
        assert_eq!(levels, ["error", "warning", "note", "note"]);
        let rules: Vec<&Value> =
            run["tool"]["driver"]["rules"].as_array().expect("rules").iter().map(|r| &r["id"]).collect();
        assert_eq!(rules, ["unbounded_cache", "unknown"]);
        let place = |at: usize| &run["results"][at]["locations"][0]["physicalLocation"];
        assert_eq!(place(0)["artifactLocation"], json!({"uri": "src/cache.rs", "uriBaseId": ROOT}));
        assert_eq!(place(0)["region"], json!({"startLine": 31}));
        assert_eq!(place(1)["artifactLocation"]["uri"], "shop/src/feed.rs");
        assert_eq!(run["results"][1]["baselineState"], "new");
        assert_eq!(run["results"][2]["baselineState"], "unchanged");
        assert_eq!(run["results"][3]["suppressions"][0]["justification"], "leak:intern");
        assert_eq!(run["results"][3]["partialFingerprints"]["leakcheckSite/v1"], "000000000000c0de:4");
        assert_eq!(run["originalUriBaseIds"][ROOT]["uri"], "file:///home/me/");
    }

    #[test]
    fn paths_are_encoded() {
        assert_eq!(encoded("/a b/ü.rs"), "/a%20b/%C3%BC.rs");
    }
}
