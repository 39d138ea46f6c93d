//! Figures of a watch for Prometheus, as OpenMetrics text 1.0 and in the older text format.
//!
//! A process has a fixed number of series and there is none per site, so that however much is watched, what is kept of
//! it stays small. What is not known is left out: it is not 0.

use super::headline::verdict_in_words;
use super::watch_view::{EvidenceKind, ProcessState, ProcessView, WatchView};
use leakcheck::analysis::Verdict;
use std::collections::BTreeSet;
use std::fmt::{Display, Write};

/// Processes with series of their own.
const PROCESSES_MAX: usize = 100;
/// Letters of a name in a label.
const NAME_MAX: usize = 128;
const VERDICTS: [Verdict; 3] = [Verdict::Leaking, Verdict::Inconclusive, Verdict::Bounded];

/// The figures as OpenMetrics text 1.0.
pub(crate) fn metrics(view: &WatchView) -> String {
    let (processes, left_out) = chosen(&view.processes);
    let mut text = Exposition::default();
    of_processes(&mut text, &processes);
    of_watch(&mut text, view, left_out);
    text.out.push_str("# EOF\n");
    text.out
}

/// OpenMetrics text of [`metrics`] in the text format 0.0.4 of before: there a counter is declared by the name of its
/// sample, and neither units nor the end are.
pub(crate) fn in_the_older_format(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut counter = "";
    for line in open_metrics.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counter = family;
        }
        let declared = ["# TYPE ", "# HELP "].iter().find_map(|word| Some((*word, line.strip_prefix(word)?)));
        match declared.map(|(word, rest)| (word, rest.split_once(' ').unwrap_or((rest, "")))) {
            Some((word, (family, rest))) if family == counter => {
                let _ = writeln!(out, "{word}{family}_total {rest}");
            }
            None if line.starts_with('#') => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// The processes that run, at most [`PROCESSES_MAX`]: the worst, then those that grow fastest; and how many more.
fn chosen(processes: &[ProcessView]) -> (Vec<&ProcessView>, usize) {
    let mut seen = BTreeSet::new();
    // A series must not come twice; of two with one number the later one is the one that runs.
    let running = processes.iter().rev().filter(|process| process.state == ProcessState::Running);
    let mut running: Vec<&ProcessView> = running.filter(|process| seen.insert(process.pid)).collect();
    let speed = |process: &ProcessView| process.rate_bytes_per_second.unwrap_or(f64::NEG_INFINITY);
    running.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| speed(b).total_cmp(&speed(a))));
    let left_out = running.len().saturating_sub(PROCESSES_MAX);
    running.truncate(PROCESSES_MAX);
    (running, left_out)
}

fn of_processes(text: &mut Exposition, processes: &[&ProcessView]) {
    let mut gauge = |name, unit, help, figure: &dyn Fn(&ProcessView) -> Option<u64>| {
        text.family(name, Kind::Gauge, unit, help);
        for process in processes {
            text.sample(name, &labels(process, &[]), figure(process));
        }
    };
    gauge("leakcheck_live_bytes", "bytes", "Live bytes of recorded sites.", &|process| process.live_bytes);
    gauge("leakcheck_resident_bytes", "bytes", "Resident memory.", &|process| Some(process.resident.rss_bytes));
    gauge("leakcheck_threads", "", "Threads.", &|process| process.resident.threads);
    gauge("leakcheck_file_descriptors", "", "Open file descriptors.", &|process| process.usage.file_descriptors);
    gauge("leakcheck_mappings", "", "Mappings of the address space.", &|process| process.usage.mappings);

    text.family(
        "leakcheck_resident_part_bytes",
        Kind::Gauge,
        "bytes",
        "Parts of resident memory, and what is swapped.",
    );
    for process in processes {
        let resident = &process.resident;
        for (kind, bytes) in [
            ("anonymous", resident.anonymous_bytes),
            ("file", resident.file_bytes),
            ("shared", resident.shared_bytes),
            ("swap", resident.swap_bytes),
        ] {
            text.sample("leakcheck_resident_part_bytes", &labels(process, &[("kind", kind)]), bytes);
        }
    }

    let name = "leakcheck_growth_bytes_per_second";
    text.family(name, Kind::Gauge, "bytes_per_second", "Growth of what leaks or may leak.");
    for process in processes {
        let rate = process.rate_bytes_per_second.filter(|rate| rate.is_finite());
        text.sample(name, &labels(process, &[]), rate);
    }

    text.family("leakcheck_sites", Kind::Gauge, "", "Recorded sites by verdict.");
    for process in processes.iter().filter(|process| process.evidence != EvidenceKind::Kernel) {
        for (verdict, count) in VERDICTS.into_iter().zip(process.site_counts) {
            let verdict = verdict_in_words(verdict);
            text.sample("leakcheck_sites", &labels(process, &[("verdict", verdict)]), Some(count));
        }
    }

    text.family("leakcheck_verdict", Kind::Gauge, "", "1 for the verdict so far, 0 for the others.");
    for process in processes {
        for verdict in VERDICTS {
            let labels = labels(process, &[("verdict", verdict_in_words(verdict))]);
            text.sample("leakcheck_verdict", &labels, Some(u8::from(process.verdict == verdict)));
        }
    }

    text.family("leakcheck_cpu_seconds", Kind::Counter, "seconds", "CPU time used.");
    for process in processes {
        text.sample("leakcheck_cpu_seconds_total", &labels(process, &[]), process.usage.cpu_ms.map(seconds));
    }

    text.family("leakcheck_page_faults", Kind::Counter, "", "Page faults: minor ones needed no disk.");
    for process in processes {
        for (kind, faults) in [("minor", process.usage.minor_faults), ("major", process.usage.major_faults)] {
            text.sample("leakcheck_page_faults_total", &labels(process, &[("kind", kind)]), faults);
        }
    }
}

fn of_watch(text: &mut Exposition, view: &WatchView, left_out: usize) {
    let running = view.processes.iter().filter(|process| process.state == ProcessState::Running).count() as u64;
    let ended = view.ended_before.saturating_add(view.processes.len() as u64 - running);
    text.family("leakcheck_watch_processes", Kind::Gauge, "", "Processes watched, and those that have ended.");
    text.sample("leakcheck_watch_processes", r#"{state="running"}"#, Some(running));
    text.sample("leakcheck_watch_processes", r#"{state="ended"}"#, Some(ended));

    let mut gauge = |name, unit, help, figure: &dyn Display| {
        text.family(name, Kind::Gauge, unit, help);
        text.sample(name, "", Some(figure));
    };
    let help = "Running processes without series of their own, because there are too many.";
    gauge("leakcheck_watch_processes_left_out", "", help, &left_out);
    gauge("leakcheck_watch_elapsed_seconds", "seconds", "Time since the watch began.", &seconds(view.elapsed_ms));
    gauge("leakcheck_watch_resident_bytes", "bytes", "Resident memory of the watcher itself.", &view.own.rss_bytes);

    let help = "1 for the worst verdict so far of all processes, ended ones included, 0 for the others.";
    text.family("leakcheck_watch_verdict", Kind::Gauge, "", help);
    for verdict in VERDICTS {
        let labels = format!("{{verdict=\"{}\"}}", verdict_in_words(verdict));
        text.sample("leakcheck_watch_verdict", &labels, Some(u8::from(view.verdict == verdict)));
    }

    text.family("leakcheck_watch_cpu_seconds", Kind::Counter, "seconds", "CPU time of the watcher itself.");
    text.sample("leakcheck_watch_cpu_seconds_total", "", Some(seconds(view.own.cpu_ms)));

    text.family("leakcheck_build_info", Kind::Gauge, "", "Always 1; the version of leakcheck is in the label.");
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    text.sample("leakcheck_build_info", version, Some(1));
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// `{pid="4711",name="shop"}` with more.
fn labels(process: &ProcessView, more: &[(&str, &str)]) -> String {
    let mut out = format!("{{pid=\"{}\",name=\"", process.pid);
    for c in process.name.chars().take(NAME_MAX) {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    for (name, value) in more {
        let _ = write!(out, ",{name}=\"{value}\"");
    }
    out.push('}');
    out
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Text that is being written; the samples of a family follow its declaration.
#[derive(Default)]
struct Exposition {
    out: String,
}

impl Exposition {
    /// Declares a family; `help` needs no escapes.
    fn family(&mut self, name: &str, kind: Kind, unit: &str, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {help}");
    }

    /// A sample, when the figure is known.
    fn sample(&mut self, name: &str, labels: &str, figure: Option<impl Display>) {
        if let Some(figure) = figure {
            let _ = writeln!(self.out, "{name}{labels} {figure}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::made_up_watch;

    #[test]
    fn each_known_figure_has_a_sample_and_no_other() {
        let text = metrics(&made_up_watch::view());
        for line in [
            "# TYPE leakcheck_live_bytes gauge",
            "# UNIT leakcheck_live_bytes bytes",
            r#"leakcheck_live_bytes{pid="4711",name="shop"} 220480000"#,
            r#"leakcheck_resident_part_bytes{pid="4711",name="shop",kind="swap"} 4096"#,
            r#"leakcheck_growth_bytes_per_second{pid="4711",name="shop"} 943718.4"#,
            r#"leakcheck_sites{pid="4711",name="shop",verdict="bounded"} 43"#,
            r#"leakcheck_verdict{pid="4711",name="shop",verdict="leaking"} 1"#,
            r#"leakcheck_verdict{pid="4711",name="shop",verdict="bounded"} 0"#,
            "# TYPE leakcheck_cpu_seconds counter",
            r#"leakcheck_cpu_seconds_total{pid="4711",name="shop"} 81.25"#,
            r#"leakcheck_page_faults_total{pid="4711",name="shop",kind="major"} 12"#,
            r#"leakcheck_file_descriptors{pid="4712",name="worker"} 7"#,
            r#"leakcheck_watch_processes{state="ended"} 3"#,
            "leakcheck_watch_processes_left_out 0",
            "leakcheck_watch_elapsed_seconds 192",
            r#"leakcheck_watch_verdict{verdict="leaking"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        for unknown in ["leakcheck_live_bytes", "leakcheck_sites", "leakcheck_mappings", "leakcheck_cpu_seconds_total"]
        {
            assert!(!text.contains(&format!("{unknown}{{pid=\"4712\"")), "{unknown}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn the_older_format_declares_counters_by_their_samples() {
        let open = metrics(&made_up_watch::view());
        let older = in_the_older_format(&open);
        assert!(older.contains("# TYPE leakcheck_cpu_seconds_total counter\n# HELP leakcheck_cpu_seconds_total CPU"));
        assert!(older.contains("# TYPE leakcheck_live_bytes gauge\n"));
        assert!(!older.contains("# UNIT") && !older.contains("# EOF"));
        let samples =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(samples(&older), samples(&open));
    }

    #[test]
    fn names_are_escaped_and_short() {
        let mut process = made_up_watch::view().processes.remove(1);
        process.name = "a\"b\\c\nd".to_owned();
        assert_eq!(labels(&process, &[("kind", "x")]), r#"{pid="4712",name="a\"b\\c\nd",kind="x"}"#);
        process.name = "長".repeat(1000);
        assert!(labels(&process, &[]).chars().count() < NAME_MAX + 30);
    }

    #[test]
    fn the_worst_hundred_have_series_and_the_rest_is_counted() {
        let mut view = made_up_watch::view();
        let one = view.processes.remove(1);
        view.processes = (0..250)
            .map(|at| ProcessView {
                pid: at,
                verdict: if at >= 240 { Verdict::Leaking } else { Verdict::Bounded },
                rate_bytes_per_second: Some(f64::from(at)),
                state: if at == 0 { ProcessState::Ended } else { ProcessState::Running },
                ..one.clone()
            })
            .collect();
        view.processes.push(ProcessView { rate_bytes_per_second: Some(f64::NAN), ..view.processes[249].clone() });
        let text = metrics(&view);
        let having: Vec<&str> = text.lines().filter(|line| line.starts_with("leakcheck_resident_bytes{")).collect();
        assert_eq!(having.len(), 100);
        for pid in [249, 240, 239, 150] {
            assert!(having.iter().any(|line| line.contains(&format!("pid=\"{pid}\""))), "{pid}: {having:?}");
        }
        assert!(text.contains("\nleakcheck_watch_processes_left_out 149\n"), "{text}");
        assert!(!text.contains("NaN"));
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut series: Vec<&str> = samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all, "a series came twice");
    }
}
