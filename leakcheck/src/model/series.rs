//! The snapshots of one process in order, in the compact form the analysis works on.
//!
//! Snapshots are added one at a time and need not be kept: names and stacks are stored once per site, counters only
//! when they changed.

use super::{
    Amount, Counters, FoldedStack, Function, Generation, Losses, ModuleId, Process, Reason, Recording, Resident, Site,
    SiteKey, SizeSummary, Snapshot, Survivors, TimelinePoint, Usage, fold,
};
use std::collections::HashMap;

/// The snapshots of one process, in order of their sequence numbers.
#[derive(Debug, Clone)]
pub struct Series {
    /// The process.
    pub process: Process,
    /// How it was recorded.
    pub recording: Recording,
    /// One entry per snapshot.
    pub moments: Vec<Moment>,
    /// Every site seen in any snapshot.
    pub sites: Vec<SiteSeries>,
    /// The birth generations known at the last snapshot.
    pub generations: Vec<Generation>,
    /// Totals at a higher rate, in order.
    pub timeline: Vec<TimelinePoint>,
    /// Files that the stacks of sites go through, each once.
    pub modules: Vec<String>,
    by_key: HashMap<SiteKey, usize>,
    by_id: HashMap<u32, (SiteKey, usize)>,
}

/// What a snapshot says of the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Number in the recording.
    pub sequence: u64,
    /// Why it was taken.
    pub reason: Reason,
    /// The checkpoint's name.
    pub label: Option<String>,
    /// Wall clock, milliseconds since the Unix epoch.
    pub taken_unix_ms: u64,
    /// Milliseconds since the recording began.
    pub elapsed_ms: u64,
    /// Loop turns marked so far.
    pub iterations: u64,
    /// The sum of all sites.
    pub totals: Counters,
    /// The kernel's view.
    pub resident: Option<Resident>,
    /// What else the kernel says.
    pub usage: Option<Usage>,
    /// What was lost so far.
    pub losses: Losses,
    /// What the recorder holds.
    pub recorder_bytes: u64,
}

/// One site over the series.
#[derive(Debug, Clone)]
pub struct SiteSeries {
    /// Its name across runs.
    pub key: SiteKey,
    /// Its folded stack.
    pub stack: FoldedStack,
    /// The scope of its blocks.
    pub scope: Option<String>,
    /// The counters where they changed, in order. Before the first point they are zero.
    pub points: Vec<Point>,
    /// Live blocks by birth generation at the last snapshot that was not taken at exit.
    pub survivors: Vec<Survivors>,
    /// The same before the last great fall, if there was one.
    pub before_fall: Option<BeforeFall>,
    /// Sizes asked for.
    pub size: Option<SizeSummary>,
    /// Names of threads that allocated here.
    pub threads: Vec<String>,
    /// The files its stack goes through, as places in [`Series::modules`].
    pub modules: Vec<ModuleId>,
}

/// What was live before most of it went: a program that ends may be seen while it takes itself down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeforeFall {
    /// The moment of the fall: place in [`Series::moments`].
    pub moment: u32,
    /// Live blocks by birth generation before it.
    pub survivors: Vec<Survivors>,
}

/// The counters of a site from one moment until its next point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Place in [`Series::moments`].
    pub moment: u32,
    /// The counters.
    pub counters: Counters,
    /// Distinct birth generations with live blocks.
    pub generations_alive: u32,
}

impl SiteSeries {
    /// The counters at a moment.
    #[must_use]
    pub fn at(&self, moment: usize) -> Counters {
        self.point_at(moment).map_or_else(Counters::default, |point| point.counters)
    }

    /// Distinct birth generations with live blocks at a moment.
    #[must_use]
    pub fn generations_alive_at(&self, moment: usize) -> u32 {
        self.point_at(moment).map_or(0, |point| point.generations_alive)
    }

    /// Live blocks by birth generation at a moment near the end: before the last great fall, where that came later.
    #[must_use]
    pub fn survivors_at(&self, moment: usize) -> &[Survivors] {
        let before = self.before_fall.as_ref().filter(|fall| fall.moment as usize > moment);
        before.map_or(&self.survivors, |fall| &fall.survivors)
    }

    fn point_at(&self, moment: usize) -> Option<&Point> {
        let after = self.points.partition_point(|p| p.moment as usize <= moment);
        self.points.get(after.checked_sub(1)?)
    }

    /// Live blocks and bytes at each of the first `moments` moments.
    pub fn live(&self, moments: usize) -> impl Iterator<Item = Amount> + '_ {
        let mut points = self.points.iter().peekable();
        let mut current = Amount::default();
        (0..moments).map(move |moment| {
            while let Some(point) = points.next_if(|p| p.moment as usize <= moment) {
                current = point.counters.live();
            }
            current
        })
    }
}

impl Series {
    /// A series with its first snapshot.
    #[must_use]
    pub fn new(first: &Snapshot) -> Self {
        let mut series = Self {
            process: first.process.clone(),
            recording: first.recording.clone(),
            moments: Vec::new(),
            sites: Vec::new(),
            generations: Vec::new(),
            timeline: Vec::new(),
            modules: Vec::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
        };
        series.push(first);
        series
    }

    /// The same moments and generations with no site in them.
    #[must_use]
    pub fn without_sites(&self) -> Self {
        Self {
            process: self.process.clone(),
            recording: self.recording.clone(),
            moments: self.moments.clone(),
            sites: Vec::new(),
            generations: self.generations.clone(),
            timeline: Vec::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            modules: self.modules.clone(),
        }
    }

    /// Whether a snapshot belongs to this recording of this process.
    #[must_use]
    pub fn accepts(&self, snapshot: &Snapshot) -> bool {
        self.process.pid == snapshot.process.pid
            && self.process.started_unix_ms == snapshot.process.started_unix_ms
            && self.recording.started_unix_ms == snapshot.recording.started_unix_ms
    }

    /// Adds the next snapshot. Snapshots must come in order of their sequence numbers and be accepted by
    /// [`Series::accepts`].
    pub fn push(&mut self, snapshot: &Snapshot) {
        let moment = u32::try_from(self.moments.len()).unwrap_or(u32::MAX);
        self.moments.push(Moment {
            sequence: snapshot.sequence,
            reason: snapshot.reason,
            label: snapshot.label.clone(),
            taken_unix_ms: snapshot.taken_unix_ms,
            elapsed_ms: snapshot.elapsed_ms,
            iterations: snapshot.iterations,
            totals: snapshot.totals,
            resident: snapshot.resident,
            usage: snapshot.usage,
            losses: snapshot.losses,
            recorder_bytes: snapshot.recorder_bytes,
        });
        // A snapshot for a watcher repeats points that the next one in the files has as well.
        let known_ms = self.timeline.last().map(|point| point.elapsed_ms);
        let new = snapshot.timeline.iter().filter(|point| known_ms.is_none_or(|known| point.elapsed_ms > known));
        self.timeline.extend(new);
        self.generations.clone_from(&snapshot.generations);
        for (place, sum) in self.sums_by_site(snapshot) {
            self.record(place, moment, snapshot.reason, sum);
        }
    }

    /// Leaves out moments for which `stays` says no, but never the last one: a watch that goes on for days keeps a few of each
    /// age. The counters at the moments that stay are as they were.
    pub fn thin(&mut self, mut stays: impl FnMut(&Moment) -> bool) {
        let last = self.moments.len().saturating_sub(1);
        // Where each moment is afterwards, or the first after it that stays.
        let mut places = Vec::with_capacity(self.moments.len());
        let (mut moment, mut place) = (0, 0_u32);
        self.moments.retain(|one| {
            let stays = moment == last || stays(one);
            places.push(place);
            moment += 1;
            place += u32::from(stays);
            stays
        });
        let place_of = |moment: u32| places.get(moment as usize).copied().unwrap_or(moment);
        for site in &mut self.sites {
            site.points.iter_mut().for_each(|point| point.moment = place_of(point.moment));
            // Of those that come to one place the latest holds there.
            site.points.dedup_by(|later, earlier| {
                let same = later.moment == earlier.moment;
                if same {
                    *earlier = *later;
                }
                same
            });
            if let Some(fall) = &mut site.before_fall {
                fall.moment = place_of(fall.moment);
            }
        }
    }

    /// Sites whose folded stacks are the same are one site: adds them up.
    fn sums_by_site(&mut self, snapshot: &Snapshot) -> HashMap<usize, SiteSum> {
        let mut sums: HashMap<usize, SiteSum> = HashMap::with_capacity(snapshot.sites.len());
        for site in &snapshot.sites {
            let place = self.place_of(snapshot, site);
            sums.entry(place).or_default().add(snapshot, site);
        }
        sums
    }

    fn place_of(&mut self, snapshot: &Snapshot, site: &Site) -> usize {
        if let Some((_, place)) = self.by_id.get(&site.id.0) {
            return *place;
        }
        let unresolved: Vec<Function> = snapshot
            .frames_of(site)
            .filter(|frame| frame.functions.is_empty())
            .map(|frame| address_name(snapshot, frame))
            .collect();
        let mut unresolved = unresolved.iter();
        let functions = snapshot.frames_of(site).flat_map(|frame| {
            let named = frame.functions.iter();
            let unnamed = if frame.functions.is_empty() { unresolved.next() } else { None };
            named.chain(unnamed)
        });
        let stack = fold(functions);
        let scope = snapshot.scope_of(site).map(str::to_owned);
        let key = stack.key(scope.as_deref());
        if let Some(place) = self.by_key.get(&key) {
            keep_plumbing(&mut self.sites[*place].stack.plumbing, stack.plumbing);
            self.by_id.insert(site.id.0, (key, *place));
            return *place;
        }
        let modules = self.modules_of(snapshot, site);
        let place = *self.by_key.entry(key).or_insert_with(|| {
            self.sites.push(SiteSeries {
                key,
                stack,
                scope,
                points: Vec::new(),
                survivors: Vec::new(),
                before_fall: None,
                size: None,
                threads: Vec::new(),
                modules,
            });
            self.sites.len() - 1
        });
        self.by_id.insert(site.id.0, (key, place));
        place
    }

    /// The files a stack goes through, each once. A process has a few hundred at most.
    fn modules_of(&mut self, snapshot: &Snapshot, site: &Site) -> Vec<ModuleId> {
        let mut modules = Vec::new();
        for module in snapshot.frames_of(site).filter_map(|frame| snapshot.modules.get(frame.module?.index())) {
            let known = self.modules.iter().position(|path| *path == module.path);
            let place = known.unwrap_or_else(|| {
                self.modules.push(module.path.clone());
                self.modules.len() - 1
            });
            let id = ModuleId(u32::try_from(place).unwrap_or(u32::MAX));
            if !modules.contains(&id) {
                modules.push(id);
            }
        }
        modules
    }

    fn record(&mut self, place: usize, moment: u32, reason: Reason, sum: SiteSum) {
        let site = &mut self.sites[place];
        let generations_alive = u32::try_from(sum.survivors.len()).unwrap_or(u32::MAX);
        let point = Point { moment, counters: sum.counters, generations_alive };
        let unchanged = site
            .points
            .last()
            .is_some_and(|last| last.counters == point.counters && last.generations_alive == generations_alive);
        if !unchanged {
            site.points.push(point);
        }
        if reason != Reason::Exit || moment == 0 {
            let blocks = |survivors: &[Survivors]| survivors.iter().map(|one| one.blocks).fold(0, u64::saturating_add);
            let fell = blocks(&sum.survivors).saturating_mul(3) < blocks(&site.survivors).saturating_mul(2);
            // A fall over two snapshots is one.
            let goes_on = site.before_fall.as_ref().is_some_and(|fall| fall.moment + 1 == moment);
            let before = std::mem::replace(&mut site.survivors, sum.survivors);
            if fell && !goes_on {
                site.before_fall = Some(BeforeFall { moment, survivors: before });
            }
        }
        site.size = match (site.size, sum.size) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (a, b) => a.or(b),
        };
        for thread in sum.threads {
            if !site.threads.contains(&thread) {
                site.threads.push(thread);
            }
        }
    }
}

/// A value and the container it goes into may be allocated in one line: the names behind both tell what it is. Those seen
/// first stay outermost.
fn keep_plumbing(known: &mut Vec<String>, others: Vec<String>) {
    const NAMES_MAX: usize = 64;
    for name in others {
        if known.len() < NAMES_MAX && !known.contains(&name) {
            known.insert(0, name);
        }
    }
}

#[derive(Default)]
struct SiteSum {
    counters: Counters,
    survivors: Vec<Survivors>,
    size: Option<SizeSummary>,
    threads: Vec<String>,
}

impl SiteSum {
    fn add(&mut self, snapshot: &Snapshot, site: &Site) {
        self.counters = self.counters.plus(site.counters);
        self.size = match (self.size, site.size) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (a, b) => a.or(b),
        };
        for one in &site.survivors {
            match self.survivors.binary_search_by_key(&one.generation, |s| s.generation) {
                Ok(at) => {
                    let sum = &mut self.survivors[at];
                    sum.blocks = sum.blocks.saturating_add(one.blocks);
                    sum.bytes = sum.bytes.saturating_add(one.bytes);
                }
                Err(at) => self.survivors.insert(at, *one),
            }
        }
        let names = site.threads.iter().filter_map(|id| snapshot.threads.get(id.index()));
        for name in names {
            if !self.threads.contains(name) {
                self.threads.push(name.clone());
            }
        }
    }
}

/// What stands for the name of an address that was not resolved.
fn address_name(snapshot: &Snapshot, frame: &super::Frame) -> Function {
    let module = frame.module.and_then(|id| snapshot.modules.get(id.index()));
    let name = match module {
        Some(module) => {
            let file = module.path.rsplit('/').next().unwrap_or(&module.path);
            format!("{file}+{:#x}", frame.offset)
        }
        None => format!("{:#x}", frame.offset),
    };
    Function { name, file: None, line: None }
}
/// A series that the kernel alone made, one moment a second, with so much memory at each; for tests of the analysis.
#[cfg(test)]
pub(crate) fn made_up_kernel_series(pid: u32, parent_pid: Option<u32>, began_unix_ms: u64, bytes: &[u64]) -> Series {
    use super::{Mode, Source};
    let process = Process {
        pid,
        started_unix_ms: began_unix_ms,
        executable: "/srv/shop".to_owned(),
        build_id: None,
        host: "web-1".to_owned(),
        parent_pid,
    };
    let recording = Recording {
        leakcheck_version: String::new(),
        mode: Mode::Exact,
        started_unix_ms: began_unix_ms,
        every_ms: 1000,
        source: Source::Kernel,
        predating_bytes: None,
    };
    let mut series: Option<Series> = None;
    for (sequence, anonymous) in (0..).zip(bytes) {
        let resident = Resident {
            rss_bytes: *anonymous,
            anonymous_bytes: Some(*anonymous),
            threads: Some(4),
            ..Resident::default()
        };
        let snapshot = Snapshot {
            sequence,
            reason: Reason::Periodic,
            elapsed_ms: sequence * 1000,
            resident: Some(resident),
            ..Snapshot::empty(process.clone(), recording.clone())
        };
        match &mut series {
            Some(series) => series.push(&snapshot),
            None => series = Some(Series::new(&snapshot)),
        }
    }
    series.expect("a test has moments")
}
