//! `leakcheck run`: a program is run and recorded, then judged and drawn.

use super::plot::PictureFile;
use super::stdout::to_stderr;
use super::{Stdout, check, judge_all, quoted, tell};
use crate::cli::{OutputFormat, RunArgs};
use crate::error::Error;
use crate::exit::{Exit, SIGNAL_BASE};
use crate::input::{ProcessSampler, Program, Recipe, latest_header, load_series, snapshot_files_in};
use crate::render::chart::ChartOptions;
use crate::render::{CheckReport, Judged, RunFacts};
use crate::units;
use leakcheck::analysis::{Judgement, Verdict};
use leakcheck::model::Series;
use std::collections::HashSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) fn run(args: &RunArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let folder = OutFolder::make(args)?;
    let chart = args.png.clone().unwrap_or_else(|| folder.path.join("heap.png"));
    let picture = PictureFile::open(&chart, args.force)?;
    let earlier: HashSet<PathBuf> = snapshot_files_in(&folder.path)?.into_iter().collect();
    if !earlier.is_empty() {
        let files = units::counted(earlier.len() as u64, "snapshot");
        tell(&[format!("{} holds {files} of earlier runs, which stay and are not judged", folder.path.display())]);
    }
    let (status, sampler) = run_to_the_end(args, &folder.path, stdout, &earlier)?;
    let files = new_files(&folder.path, &earlier)?;
    let recorded = !files.is_empty();
    let processes = if recorded {
        let loaded = load_series(&files)?;
        tell(&loaded.notes);
        judge_all(loaded.series, &args.judge)
    } else {
        sampler.into_series().into_iter().map(without_recorder).collect()
    };
    let mut report = CheckReport {
        top: args.judge.top,
        named: quoted(std::slice::from_ref(&folder.path)),
        run: Some(RunFacts { folder: folder.path.clone(), chart: None, exit_code: code_of(status), recorded }),
        processes,
    };
    let drawn = if report.processes.is_empty() {
        Ok(())
    } else {
        picture.write(&report, ChartOptions { size: (1200, 700), top: 6 })
    };
    if let Some(run) = report.run.as_mut().filter(|_| drawn.is_ok() && !report.processes.is_empty()) {
        run.chart = Some(chart);
    }
    // The report comes first: a picture that cannot be drawn must not cost the verdict of a long run.
    check::print(&report, stdout)?;
    drawn?;
    if status.success() {
        return Ok(Exit::of_verdict(report.verdict(), args.judge.strict));
    }
    to_stderr(&format!("leakcheck: the program ended with {}, which is passed on\n", ending(status)));
    Ok(Exit::of_child(code_of(status)))
}

/// Runs the program, shows progress, and samples its resident memory in case it has no recorder.
fn run_to_the_end(
    args: &RunArgs,
    folder: &Path,
    stdout: &Stdout,
    earlier: &HashSet<PathBuf>,
) -> Result<(ExitStatus, ProcessSampler), Error> {
    let absolute = fs::canonicalize(folder).map_err(|e| Error::because(format!("open {}", folder.display()), e))?;
    let mut program = Program::start(&Recipe {
        program: &args.program,
        mode: &args.mode,
        every_ms: args.every,
        folder: &absolute,
        stdout_to_stderr: stdout.format != OutputFormat::Text,
    })?;
    let name = program_name(args);
    let mut sampler = ProcessSampler::new(program.pid(), name.clone(), Duration::from_millis(args.every));
    let mut progress = Progress::new(format!("leakcheck: {name}, pid {}", program.pid()), args.every);
    let on_terminal = progress.on_terminal;
    let status = program.wait(
        || {
            sampler.sample_when_due();
            progress.show_when_due(&sampler, || new_files(folder, earlier).unwrap_or_default());
        },
        |text| {
            clear_line(on_terminal);
            to_stderr(&format!("leakcheck: {text}\n"));
        },
    )?;
    clear_line(on_terminal);
    Ok((status, sampler))
}

fn new_files(folder: &Path, earlier: &HashSet<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut files = snapshot_files_in(folder)?;
    files.retain(|file| !earlier.contains(file));
    Ok(files)
}

/// The verdict where only resident memory is known: none.
fn without_recorder(series: Series) -> Judged {
    let resident = |moment: Option<&leakcheck::model::Moment>| moment.and_then(|m| m.resident).map(|r| r.rss_bytes);
    let ends = resident(series.moments.first()).zip(resident(series.moments.last()));
    let span_ms = series.moments.last().map_or(0, |last| last.elapsed_ms);
    let notes = ends.filter(|_| span_ms > 0).map(|(first, last)| {
        format!(
            "resident memory of the program and its children went from {} to {} in {}; without the recorder nothing \
             tells which code holds it, or whether it is a leak",
            units::bytes(first),
            units::bytes(last),
            units::duration(span_ms)
        )
    });
    let judgement = Judgement {
        verdict: Verdict::Inconclusive,
        findings: Vec::new(),
        notes: notes.into_iter().collect(),
        more_ms: None,
        sites_judged: 0,
    };
    Judged { series, judgement, recorded: false }
}

/// The folder of the snapshots. One that was made for nothing is removed again.
struct OutFolder {
    path: PathBuf,
    made: bool,
}

impl OutFolder {
    fn make(args: &RunArgs) -> Result<Self, Error> {
        let failed = |path: &Path, e| Error::because(format!("make the folder {}", path.display()), e);
        if let Some(path) = &args.out {
            let made = !path.exists();
            fs::create_dir_all(path).map_err(|e| failed(path, e))?;
            return Ok(Self { path: path.clone(), made });
        }
        let parent = Path::new("leakcheck-out");
        fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
        let name = format!("{}-{}", program_name(args), utc_now());
        let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
        for path in names.map(|name| parent.join(name)) {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, made: true }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(&path, e)),
            }
        }
        Err(Error::new(format!("make a folder in {}", parent.display())))
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if self.made {
            // Fails when something is in it, and then it shall stay.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn program_name(args: &RunArgs) -> String {
    let name = args.program.first().map(|program| Path::new(program).file_name().unwrap_or(program));
    let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if name.is_empty() { "program".to_owned() } else { name }
}

/// `20260131-120000`
fn utc_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Days since 1970-01-01 as a Gregorian date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| i32::from(SIGNAL_BASE) + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal} (exit code {})", code_of(status)),
        None => format!("exit code {}", code_of(status)),
    }
}

/// How it goes, on standard error: one line that is updated on a terminal, a new line now and then elsewhere.
struct Progress {
    name: String,
    on_terminal: bool,
    started: Instant,
    next: Duration,
    warn_at: Option<Duration>,
}

impl Progress {
    const TERMINAL_EVERY: Duration = Duration::from_secs(1);
    const FIRST: Duration = Duration::from_secs(10);
    const EVERY_MAX: Duration = Duration::from_secs(600);

    fn new(name: String, every_ms: u64) -> Self {
        let on_terminal = io::stderr().is_terminal();
        let next = if on_terminal { Self::TERMINAL_EVERY } else { Self::FIRST };
        let warn_at = Some(Duration::from_millis(every_ms) * 3 + Duration::from_secs(3));
        Self { name, on_terminal, started: Instant::now(), next, warn_at }
    }

    fn show_when_due(&mut self, sampler: &ProcessSampler, files: impl FnOnce() -> Vec<PathBuf>) {
        let elapsed = self.started.elapsed();
        let warn = self.warn_at.is_some_and(|at| elapsed >= at);
        if elapsed < self.next && !warn {
            return;
        }
        let files = files();
        if warn {
            self.warn_at = None;
            if files.is_empty() {
                clear_line(self.on_terminal);
                to_stderr("leakcheck: no snapshots so far; does the program have the recorder?\n");
            }
        }
        if elapsed >= self.next {
            self.next =
                if self.on_terminal { elapsed + Self::TERMINAL_EVERY } else { elapsed + elapsed.min(Self::EVERY_MAX) };
            let line = self.line(elapsed, sampler, &files);
            clear_line(self.on_terminal);
            to_stderr(&if self.on_terminal { fit_terminal(line) } else { line + "\n" });
        }
    }

    fn line(&self, elapsed: Duration, sampler: &ProcessSampler, files: &[PathBuf]) -> String {
        let elapsed = units::duration(elapsed.as_secs() * 1000);
        let snapshots = units::counted(files.len() as u64, "snapshot");
        let live = latest_header(files).map(|header| header.totals.live().bytes);
        let live = live.map_or_else(String::new, |bytes| format!(", live {}", units::bytes(bytes)));
        let resident = sampler.latest().map(|resident| resident.rss_bytes);
        let resident = resident.map_or_else(String::new, |bytes| format!(", resident {}", units::bytes(bytes)));
        format!("{}: {elapsed}, {snapshots}{live}{resident}", self.name)
    }
}

/// A line that wraps could not be replaced by the next one.
fn fit_terminal(line: String) -> String {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
    line.chars().take(columns.saturating_sub(1)).collect()
}

fn clear_line(on_terminal: bool) {
    if on_terminal {
        to_stderr("\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_484, (2026, 1, 31)), (47_540, (2100, 2, 28))]
        {
            assert_eq!(civil_date(days), date);
        }
    }
}
