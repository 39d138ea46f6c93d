//! `leakcheck run`: a program is run and recorded, then judged and drawn.

mod progress;

use self::progress::{Progress, clear_line};
use super::out_folder::OutFolder;
use super::picture_file::PictureFile;
use super::stdout::to_stderr;
use super::{Judging, Stdout, check, quoted, tell, tell_of_missing_lines};
use crate::cli::{OutputFormat, RunArgs};
use crate::error::Error;
use crate::exit::{Exit, SIGNAL_BASE};
use crate::input::{ProcessSampler, Program, Recipe, load_series, snapshot_files_in};
use crate::render::chart::ChartOptions;
use crate::render::{CheckReport, RunFacts};
use crate::units;
use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

pub(super) fn run(args: &RunArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let judging = Judging::prepare(&args.judge)?;
    let folder = OutFolder::make(args.out.as_deref(), &program_name(args))?;
    let chart = args.png.clone().unwrap_or_else(|| folder.path.join("heap.png"));
    let picture = PictureFile::probe(&chart, args.force)?;
    let earlier: HashSet<PathBuf> = snapshot_files_in(&folder.path)?.into_iter().collect();
    if !earlier.is_empty() {
        let files = units::counted(earlier.len() as u64, "snapshot");
        tell(&[format!("{} holds {files} of earlier runs, which stay and are not judged", folder.path.display())]);
    }
    let (status, sampler) = run_to_the_end(args, &folder.path, stdout, &earlier)?;
    let files = new_files(&folder.path, &earlier)?;
    let recorded = !files.is_empty();
    let series = if recorded {
        let loaded = load_series(&files)?;
        tell(&loaded.notes);
        loaded.series
    } else {
        sampler.into_series().into_iter().collect()
    };
    let kept = || format!("judge the snapshots, which stay in {}", folder.path.display());
    let judged = judging.judge(series).map_err(|e| if recorded { Error::because(kept(), e) } else { e })?;
    judging.tell_of_idle_suppressions(&judged.processes);
    let mut report = CheckReport {
        inconclusive_fails: args.judge.inconclusive_fails(),
        run: Some(RunFacts { folder: folder.path.clone(), chart: None, exit_code: Some(code_of(status)), recorded }),
        ..CheckReport::of(judged, args.judge.top, quoted(std::slice::from_ref(&folder.path)))
    };
    let drawn = if report.processes.is_empty() {
        Ok(())
    } else {
        picture.write(&report, ChartOptions { size: (1200, 700), top: 6 })
    };
    if let Some(run) = report.run.as_mut().filter(|_| drawn.is_ok() && !report.processes.is_empty()) {
        run.chart = Some(chart);
    }
    tell_of_missing_lines(&report.processes);
    // The report comes first: a picture that cannot be drawn must not cost the verdict of a long run.
    check::print(&report, stdout)?;
    drawn?;
    if status.success() {
        return Ok(Exit::of_verdict(report.verdict(), report.inconclusive_fails));
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
    let mut progress = Progress::new(format!("{name}, pid {}", program.pid()), args.every);
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

fn program_name(args: &RunArgs) -> String {
    let name = args.program.first().map(|program| Path::new(program).file_name().unwrap_or(program));
    let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if name.is_empty() { "program".to_owned() } else { name }
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
