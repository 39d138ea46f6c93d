//! `leakcheck watch`: running processes are followed, judged meanwhile, and reported at the end.
//!
//! One thread does everything in turn, so that what watching costs is what is seen here. Whatever ends it, recorders that
//! were woken go back to sleep, because they do when their connection ends.

mod face;
mod history;
mod lines;
mod metrics_server;
mod pace;
mod roster;
mod sequences;
mod target;
mod terminal;

use self::face::{Asked, Face};
use self::metrics_server::MetricsServer;
use self::roster::{Meant, Roster};
use self::sequences::Sequences;
use self::target::{Event, Plan};
use super::out_folder::OutFolder;
use super::picture_file::PictureFile;
use super::{Judging, Stdout, check, quoted, tell, tell_of_missing_lines};
use crate::cli::{OutputFormat, WatchArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::input::{NamePattern, own_rss_bytes, remove_stale_sockets, unix_ms_now};
use crate::render::chart::ChartOptions;
use crate::render::metrics::metrics;
use crate::render::{CheckReport, OwnCost, RunFacts, WatchView, headline_of_check};
use crate::units;
use leakcheck::analysis::Verdict;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The loop sleeps until something is due, and no longer than this: a signal that comes just before is seen then.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// Events shown.
const EVENTS_SHOWN: usize = 8;
/// A supervisor takes a moment to start a process anew.
const PATIENCE_FOR_SUCCESSORS: Duration = Duration::from_secs(3);
/// The headline is made anew after this many times what it took.
const HEADLINE_PAUSE: u32 = 20;

pub(super) fn watch(args: &WatchArgs, stdout: &Stdout) -> Result<Exit, Error> {
    let judging = Judging::prepare(&args.judge)?;
    let names = args.name.iter().map(|name| NamePattern::new(name)).collect::<Result<Vec<_>, _>>()?;
    let interrupted = interruption()?;
    remove_stale_sockets();
    let folder = OutFolder::make(args.out.as_deref(), "watch")?;
    let chart = args.png.clone().unwrap_or_else(|| folder.path.join("heap.png"));
    let picture = PictureFile::probe(&chart, args.force)?;
    let (sequences, earlier) = Sequences::after(&folder.path)?;
    if earlier > 0 {
        let files = units::counted(earlier as u64, "snapshot");
        tell(&[format!("{} holds {files} of earlier runs, which stay and are not judged", folder.path.display())]);
    }
    let plan = Plan {
        judging,
        mode: args.mode,
        children: args.children,
        every: Duration::from_millis(args.every),
        folder: folder.path.clone(),
        began: Instant::now(),
    };
    let meant = Meant { pids: args.pid.clone(), names, children: args.children };
    let mut watch = Watch::open(meant, plan, sequences)?;
    watch.run(args, stdout, &interrupted)?;
    let (plan, report) = watch.finish(args, &folder)?;
    let mut report = report;
    if report.processes.is_empty() {
        return Err(Error::new("watch anything: no process was met that could be watched"));
    }
    plan.judging.tell_of_idle_suppressions(&report.processes);
    let drawn = picture.write(&report, ChartOptions { size: (1200, 700), top: 6 });
    if let Some(run) = report.run.as_mut().filter(|_| drawn.is_ok()) {
        run.chart = Some(chart);
    }
    tell_of_missing_lines(&report.processes);
    if stdout.format == OutputFormat::Json {
        lines::print_report(&report, stdout)?;
    } else {
        check::print(&report, stdout)?;
    }
    drawn?;
    Ok(Exit::of_verdict(report.verdict(), report.inconclusive_fails))
}

/// Set when the user wants to stop: by Ctrl-C, or a signal that asks to end. A second one ends us at once.
fn interruption() -> Result<Arc<AtomicBool>, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .map_err(|e| Error::because("listen for signals", e))?;
    }
    Ok(interrupted)
}

struct Watch {
    plan: Plan,
    roster: Roster,
    sequences: Sequences,
    events: Vec<Event>,
    shown_events: VecDeque<Event>,
    headline: (Verdict, String),
    headline_is_old: bool,
    next_headline: Instant,
    over_since: Option<Instant>,
}

impl Watch {
    fn open(meant: Meant, plan: Plan, sequences: Sequences) -> Result<Self, Error> {
        let mut events = Vec::new();
        let waits = meant.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let roster = Roster::open(meant, &plan, &mut events)?;
        if roster.targets.is_empty() {
            events.push(format!("no process is called {waits} yet; waiting for one"));
        }
        Ok(Self {
            plan,
            roster,
            sequences,
            events,
            shown_events: VecDeque::new(),
            headline: (Verdict::Inconclusive, String::new()),
            headline_is_old: true,
            next_headline: Instant::now(),
            over_since: None,
        })
    }

    fn run(&mut self, args: &WatchArgs, stdout: &Stdout, interrupted: &AtomicBool) -> Result<(), Error> {
        let ends = args.for_.map(Duration::from_millis);
        let server = args.listen.as_deref().map(MetricsServer::listen).transpose()?;
        if let Some(server) = &server {
            tell(&[format!("metrics are served at http://{}/metrics", server.address())]);
            tell(server.note().as_slice());
        }
        let mut face = Face::new(stdout, args.quiet)?;
        let is_seen = server.is_some() || !face.is_silent();
        let mut view = self.view(ends);
        loop {
            let looked = self.roster.look(&self.plan, &mut self.sequences, &mut self.events);
            let judged = self.roster.judge(&self.plan, false);
            self.headline_is_old |= judged || !self.events.is_empty();
            if is_seen && self.headline_is_old && looked {
                self.make_headline();
            }
            let told = std::mem::take(&mut self.events);
            if is_seen && (looked || !told.is_empty()) {
                self.shown_events.extend(told.iter().cloned());
                while self.shown_events.len() > EVENTS_SHOWN {
                    self.shown_events.pop_front();
                }
                view = self.view(ends);
                if let Some(server) = &server {
                    server.publish(metrics(&view));
                }
                if !face.tell(&view, &told, looked)? {
                    return Ok(());
                }
            }
            let asked = face.wait(&view, self.until_due(ends))?;
            if asked == Some(Asked::Snapshot) {
                self.roster.snapshot(&self.plan, &mut self.sequences, &mut self.events);
            }
            // Relaxed: nothing else hangs on it.
            let stop = asked == Some(Asked::Quit) || interrupted.load(Ordering::Relaxed);
            let over = self.is_over() || ends.is_some_and(|ends| self.plan.began.elapsed() >= ends);
            if stop || over || (args.until_verdict && self.roster.has_verdicts()) {
                return Ok(());
            }
        }
    }

    /// The time until there is something to do.
    fn until_due(&self, ends: Option<Duration>) -> Duration {
        let ends = ends.map(|ends| self.plan.began + ends);
        let due = self.roster.next_due().into_iter().chain(ends).min();
        due.map_or(SLEEP_MAX, |due| due.saturating_duration_since(Instant::now()).min(SLEEP_MAX))
    }

    /// Whether all have ended, and none took the place of the last one.
    fn is_over(&mut self) -> bool {
        if !self.roster.is_over() {
            self.over_since = None;
            return false;
        }
        self.over_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE_FOR_SUCCESSORS
    }

    fn make_headline(&mut self) {
        let began = Instant::now();
        if began < self.next_headline {
            return;
        }
        self.headline_is_old = false;
        let judging = &self.plan.judging;
        self.headline = self.roster.with_judged(|judged| {
            if judged.is_empty() {
                return (judged, (Verdict::Inconclusive, String::new()));
            }
            let report = CheckReport::of(judging.together(judged), 0, String::new());
            let told = (report.verdict(), headline_of_check(&report));
            (report.processes, told)
        });
        self.next_headline = began + began.elapsed() * HEADLINE_PAUSE;
    }

    fn view(&self, ends: Option<Duration>) -> WatchView {
        WatchView {
            elapsed_ms: units::whole_ms(self.plan.began.elapsed()),
            taken_unix_ms: unix_ms_now(),
            ends_ms: ends.map(units::whole_ms),
            verdict: self.headline.0,
            headline: self.headline.1.clone(),
            processes: self.roster.targets.iter().map(target::Target::view).collect(),
            ended_before: self.roster.ended_before,
            events: self.shown_events.iter().cloned().collect(),
            own: own_cost(),
        }
    }

    /// The last snapshots, and the report over all.
    fn finish(mut self, args: &WatchArgs, folder: &OutFolder) -> Result<(Plan, CheckReport), Error> {
        for target in &mut self.roster.targets {
            target.finish(&self.plan, &mut self.sequences, &mut self.events);
        }
        tell(&self.events);
        self.roster.judge(&self.plan, true);
        let mut judged = self.roster.targets.iter_mut().flat_map(target::Target::take_judged).collect::<Vec<_>>();
        judged.iter_mut().for_each(|one| self.plan.judging.doubt_samples(one));
        let report = CheckReport {
            inconclusive_fails: args.judge.inconclusive_fails(),
            run: Some(RunFacts { folder: folder.path.clone(), chart: None, exit_code: None, recorded: true }),
            ..CheckReport::of(
                self.plan.judging.together(judged),
                args.judge.top,
                quoted(std::slice::from_ref(&folder.path)),
            )
        };
        Ok((self.plan, report))
    }
}

/// What this process used so far.
fn own_cost() -> OwnCost {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_ms = used.tv_sec.cast_unsigned() * 1000 + used.tv_nsec.cast_unsigned() / 1_000_000;
    OwnCost { cpu_ms, rss_bytes: own_rss_bytes() }
}
