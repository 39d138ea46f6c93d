//! A program simulated block by block, and the snapshots a recorder would take of it.
//!
//! Birth generations follow the recorder's rule (32 of one snapshot, the next 32 of two, and so on). In sampled mode each
//! block is recorded with probability p = 1 - exp(-size / R) and counted 1 / p times, as the recorder does.

use leakcheck::model::{
    Amount, Counters, Frame, FrameId, Function, Generation, Losses, Mode, Module, ModuleId, Process, Reason, Recording,
    Series, Site, SiteId, SizeSummary, Snapshot, Source, StackId, StackNode, Survivors, ThreadId,
};
use std::collections::BTreeMap;

/// xorshift64*, seeded through splitmix64 so that neighbouring seeds differ.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((z ^ (z >> 31)) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() <= p
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// How many of `n` succeed.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p >= 1.0 {
            return n;
        }
        if n <= 32 {
            return (0..n).filter(|_| self.chance(p)).count() as u64;
        }
        let mean = n as f64 * p;
        if mean < 20.0 {
            return self.poisson(mean).min(n);
        }
        ((mean + (mean * (1.0 - p)).sqrt() * self.normal()).round().max(0.0) as u64).min(n)
    }
}

/// A site by its place in the world.
pub type Place = usize;

/// A block that someone will free or resize.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    site: Place,
    generation: u32,
    size: u64,
    recorded: bool,
}

impl Block {
    pub fn size(&self) -> u64 {
        self.size
    }
}

const UNITS: u64 = 1024;

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// Recorded blocks, each of which stands for one or more.
    recorded: u64,
    units: u64,
    bytes: u64,
}

#[derive(Debug, Clone)]
struct SiteState {
    name: String,
    allocated: Sum,
    freed: Sum,
    resized: u64,
    size: Option<SizeSummary>,
    live: BTreeMap<u32, Sum>,
    stack: StackId,
    /// Blocks recorded and never freed, by [`World::leak`].
    leaked: u64,
}

/// When snapshots are taken, and how.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub snapshots: usize,
    pub every_ms: u64,
    /// Intervals vary by this fraction of `every_ms`.
    pub jitter: f64,
    pub mode: Mode,
    /// Whether the program marks its loop turns.
    pub iterations: bool,
    /// Steps of the simulation per interval.
    pub steps: u32,
}

impl Plan {
    pub fn seconds(&self) -> f64 {
        self.snapshots as f64 * self.every_ms as f64 / 1000.0
    }
}

pub struct World {
    pub random: Random,
    pub plan: Plan,
    /// Seconds since the recording began.
    pub now: f64,
    /// Length of a step in seconds.
    pub step: f64,
    pub iterations: u64,
    sites: Vec<SiteState>,
    frames: Vec<Frame>,
    stacks: Vec<StackNode>,
    generations: Vec<Generation>,
    snapshots_in_generation: u64,
    sequence: u64,
}

const STARTED: u64 = 1_769_860_800_000;

impl World {
    pub fn new(plan: Plan, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            plan,
            now: 0.0,
            step: plan.every_ms as f64 / 1000.0 / f64::from(plan.steps),
            iterations: 0,
            sites: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
            generations: vec![Generation { number: 0, started_elapsed_ms: 0 }],
            snapshots_in_generation: 0,
            sequence: 0,
        }
    }

    /// The run's planned length in seconds.
    pub fn length(&self) -> f64 {
        self.plan.seconds()
    }

    /// A new site; `name` is the function that allocates there, `container` the plumbing behind it.
    pub fn site(&mut self, name: &str, container: &str) -> Place {
        let place = self.sites.len();
        let depth = 1 + self.random.below(5);
        let mut parent = None;
        for at in 0..=depth {
            let (function, file, inlined) = if at == depth {
                let file = "/rustc/0123456789abcdef0123456789abcdef01234567/library/alloc/src/lib.rs";
                (name.to_owned(), format!("src/{}.rs", name.replace("::", "/")), Some((container, file)))
            } else {
                (format!("app::layer{at}::call{place}"), format!("src/layer{at}.rs"), None)
            };
            let mut functions: Vec<Function> = inlined
                .map(|(name, file)| Function { name: name.into(), file: Some(file.into()), line: Some(9) })
                .into_iter()
                .collect();
            functions.push(Function { name: function, file: Some(file), line: Some(10 + place as u32) });
            let frame = FrameId(self.frames.len() as u32);
            self.frames.push(Frame { module: Some(ModuleId(0)), offset: 0x1000 + u64::from(frame.0) * 16, functions });
            let stack = StackId(self.stacks.len() as u32);
            self.stacks.push(StackNode { parent, frame });
            parent = Some(stack);
        }
        self.sites.push(SiteState {
            name: name.into(),
            allocated: Sum::default(),
            freed: Sum::default(),
            resized: 0,
            size: None,
            live: BTreeMap::new(),
            stack: parent.unwrap_or(StackId(0)),
            leaked: 0,
        });
        place
    }

    pub fn name(&self, site: Place) -> &str {
        &self.sites[site].name
    }

    /// How often a leak at a site left a trace in the records so far: blocks leaked, or, where all are freed some day,
    /// blocks live, resizes, and kilobytes live.
    pub fn traces(&self, site: Place) -> u64 {
        let state = &self.sites[site];
        match state.leaked {
            0 => {
                let live: u64 = state.live.values().map(|sum| sum.bytes).sum();
                state.allocated.recorded - state.freed.recorded + state.resized + live / 1024
            }
            leaked => leaked,
        }
    }

    fn probability(&self, size: u64) -> f64 {
        match self.plan.mode {
            Mode::Exact => 1.0,
            Mode::Sampled { interval_bytes } => -(-(size.max(1) as f64) / interval_bytes as f64).exp_m1(),
        }
    }

    fn weight(&self, size: u64) -> Sum {
        let p = self.probability(size);
        Sum { recorded: 1, units: (UNITS as f64 / p).round() as u64, bytes: (size as f64 / p).round() as u64 }
    }

    fn generation(&self) -> u32 {
        self.generations.last().map_or(0, |g| g.number)
    }

    fn add(&mut self, site: Place, recorded: u64, size: u64) {
        if recorded == 0 {
            return;
        }
        let (weight, generation) = (self.weight(size), self.generation());
        let state = &mut self.sites[site];
        let live = state.live.entry(generation).or_default();
        for sum in [&mut state.allocated, live] {
            sum.recorded += recorded;
            sum.units += weight.units * recorded;
            sum.bytes += weight.bytes * recorded;
        }
        let new = SizeSummary { smallest: size, largest: size };
        state.size = Some(state.size.map_or(new, |old| old.union(new)));
    }

    /// A block is born.
    pub fn birth(&mut self, site: Place, size: u64) -> Block {
        let p = self.probability(size);
        let recorded = p >= 1.0 || self.random.chance(p);
        self.add(site, u64::from(recorded), size);
        Block { site, generation: self.generation(), size, recorded }
    }

    /// `n` blocks are born and never freed.
    pub fn leak(&mut self, site: Place, n: u64, size: u64) {
        let p = self.probability(size);
        let recorded = self.random.binomial(n, p);
        self.add(site, recorded, size);
        self.sites[site].leaked += recorded;
    }

    /// `n` blocks are born and freed at once.
    pub fn churn(&mut self, site: Place, n: u64, size: u64) {
        let p = self.probability(size);
        let recorded = self.random.binomial(n, p);
        if recorded == 0 {
            return;
        }
        let weight = self.weight(size);
        let state = &mut self.sites[site];
        for sum in [&mut state.allocated, &mut state.freed] {
            sum.recorded += recorded;
            sum.units += weight.units * recorded;
            sum.bytes += weight.bytes * recorded;
        }
        let new = SizeSummary { smallest: size, largest: size };
        state.size = Some(state.size.map_or(new, |old| old.union(new)));
    }

    pub fn free(&mut self, block: Block) {
        if !block.recorded {
            return;
        }
        let weight = self.weight(block.size);
        let state = &mut self.sites[block.site];
        state.freed.recorded += 1;
        state.freed.units += weight.units;
        state.freed.bytes += weight.bytes;
        if let Some(live) = state.live.get_mut(&block.generation) {
            live.recorded -= 1;
            live.units -= weight.units;
            live.bytes -= weight.bytes;
            if live.recorded == 0 {
                state.live.remove(&block.generation);
            }
        }
    }

    /// `realloc`. A block not recorded becomes so as a new one of the larger size would, with the birth generation of
    /// the moment; a recorded one that shrinks may be dropped.
    pub fn resize(&mut self, block: &mut Block, size: u64) {
        let (p_old, p_new) = (self.probability(block.size), self.probability(size));
        if !block.recorded {
            block.size = size;
            if size > 0 && p_new > p_old && self.random.chance((p_new - p_old) / (1.0 - p_old)) {
                block.recorded = true;
                block.generation = self.generation();
                self.add(block.site, 1, size);
            }
            return;
        }
        if p_new < p_old && !self.random.chance(p_new / p_old) {
            self.free(*block);
            block.recorded = false;
            block.size = size;
            return;
        }
        let (old, new) = (self.weight(block.size), self.weight(size));
        let state = &mut self.sites[block.site];
        let live = state.live.entry(block.generation).or_default();
        live.units = live.units + new.units - old.units;
        live.bytes = live.bytes + new.bytes - old.bytes;
        state.allocated.units += new.units.saturating_sub(old.units);
        state.freed.units += old.units.saturating_sub(new.units);
        state.allocated.bytes += new.bytes.saturating_sub(old.bytes);
        state.freed.bytes += old.bytes.saturating_sub(new.bytes);
        state.resized += 1;
        if let Some(range) = &mut state.size {
            *range = range.union(SizeSummary { smallest: size, largest: size });
        }
        block.size = size;
    }

    /// The program drops all it has at a site.
    pub fn drop_all(&mut self, site: Place) {
        let state = &mut self.sites[site];
        for (_, live) in std::mem::take(&mut state.live) {
            state.freed.recorded += live.recorded;
            state.freed.units += live.units;
            state.freed.bytes += live.bytes;
        }
    }

    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    pub fn snapshot(&mut self, reason: Reason) -> Snapshot {
        let elapsed_ms = (self.now * 1000.0).round() as u64;
        let amount = |sum: &Sum| Amount::new((sum.units + UNITS / 2) / UNITS, sum.bytes);
        let mut totals = Counters::default();
        let mut sites = Vec::with_capacity(self.sites.len());
        for (place, state) in self.sites.iter().enumerate().filter(|(_, state)| state.allocated.units > 0) {
            let counters =
                Counters { allocated: amount(&state.allocated), freed: amount(&state.freed), resized: state.resized };
            totals = totals.plus(counters);
            let survivors = state.live.iter().map(|(generation, sum)| {
                let live = amount(sum);
                Survivors { generation: *generation, blocks: live.blocks, bytes: live.bytes }
            });
            sites.push(Site {
                id: SiteId(place as u32),
                stack: Some(state.stack),
                scope: None,
                counters,
                size: state.size,
                survivors: survivors.collect(),
                threads: vec![ThreadId(u32::from(place.is_multiple_of(3)))],
            });
        }
        let snapshot = Snapshot {
            process: Process {
                pid: 4711,
                started_unix_ms: STARTED,
                executable: "/srv/app".into(),
                build_id: Some("c0ffee".into()),
                host: String::new(),
                parent_pid: None,
            },
            recording: Recording {
                leakcheck_version: "0.1.0".into(),
                mode: self.plan.mode,
                started_unix_ms: STARTED + 5,
                every_ms: self.plan.every_ms,
                source: Source::Recorder,
                predating_bytes: None,
            },
            sequence: self.sequence,
            reason,
            label: None,
            taken_unix_ms: STARTED + 5 + elapsed_ms,
            elapsed_ms,
            iterations: if self.plan.iterations { self.iterations } else { 0 },
            generations: self.generations.clone(),
            totals,
            resident: None,
            usage: None,
            losses: Losses::default(),
            recorder_bytes: 1 << 20,
            timeline: Vec::new(),
            modules: vec![Module { path: "/srv/app".into(), build_id: Some("c0ffee".into()) }],
            frames: self.frames.clone(),
            stacks: self.stacks.clone(),
            scopes: Vec::new(),
            threads: vec!["main".into(), "worker-0".into()],
            sites,
        };
        self.sequence += 1;
        self.snapshots_in_generation += 1;
        let octave = (self.generations.len() as u64 - 1) / 32;
        if self.snapshots_in_generation >= 1 << octave {
            self.snapshots_in_generation = 0;
            let number = self.generation() + 1;
            self.generations.push(Generation { number, started_elapsed_ms: elapsed_ms });
        }
        snapshot
    }
}

/// What a part of the program does in each step.
pub type Behaviour = Box<dyn FnMut(&mut World)>;

/// Runs the behaviours for the planned time. With `exit`, a last snapshot follows in which all sites but `kept` have
/// dropped what they held.
pub fn run(world: &mut World, behaviours: &mut [Behaviour], exit: bool, kept: &[Place]) -> Run {
    let mut snapshots = Vec::with_capacity(world.plan.snapshots + 1);
    let traces = |world: &World| (0..world.sites()).map(|site| world.traces(site)).collect::<Vec<u64>>();
    let mut early = Vec::new();
    let even = world.plan.every_ms as f64 / 1000.0;
    for turn in 0..world.plan.snapshots {
        if turn * 5 <= world.plan.snapshots {
            early = traces(world);
        }
        let jitter = world.plan.jitter;
        let interval = even * (1.0 + world.random.between(-jitter, jitter));
        world.step = interval / f64::from(world.plan.steps);
        for _ in 0..world.plan.steps {
            world.now += world.step;
            let turns = world.random.poisson(100.0 * world.step / even);
            world.iterations += turns;
            for behaviour in behaviours.iter_mut() {
                behaviour(world);
            }
        }
        snapshots.push(world.snapshot(Reason::Periodic));
    }
    let traces = traces(world).iter().zip(&early).map(|(all, early)| all.saturating_sub(*early)).collect();
    if exit {
        world.now += even * world.random.between(0.1, 0.9);
        for site in 0..world.sites() {
            if !kept.contains(&site) {
                world.drop_all(site);
            }
        }
        snapshots.push(world.snapshot(Reason::Exit));
    }
    Run { snapshots, traces }
}

/// A simulated run.
pub struct Run {
    pub snapshots: Vec<Snapshot>,
    /// For each site what [`World::traces`] gained after the first fifth.
    pub traces: Vec<u64>,
}

pub fn series(snapshots: &[Snapshot]) -> Series {
    let mut series = Series::new(&snapshots[0]);
    for snapshot in &snapshots[1..] {
        series.push(snapshot);
    }
    series
}
