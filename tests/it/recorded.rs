//! Makes up recordings: sites with a size over time, written as a recorder would write them.

use leakcheck::format;
use leakcheck::model::{
    Amount, Counters, Frame, FrameId, Function, Generation, Mode, Process, Reason, Recording, Resident, Site, SiteId,
    SizeSummary, Snapshot, Source, StackId, StackNode, Survivors, ThreadId, TimelinePoint, Usage,
};
use std::path::{Path, PathBuf};

/// One site: a stack, leaf first, and its live blocks at each snapshot.
pub(crate) struct MadeUpSite {
    pub(crate) stack: Vec<(String, String, u32)>,
    pub(crate) block_bytes: u64,
    pub(crate) live_blocks: Box<dyn Fn(u64) -> u64>,
    /// Blocks allocated and freed again between two snapshots.
    pub(crate) churn_blocks: u64,
}

/// A site whose innermost frame is the program's own, below std's plumbing.
pub(crate) fn site(function: &str, place: (&str, u32), live_blocks: impl Fn(u64) -> u64 + 'static) -> MadeUpSite {
    let frame = |name: &str, file: &str, line| (name.to_owned(), file.to_owned(), line);
    MadeUpSite {
        stack: vec![
            frame("alloc::raw_vec::RawVecInner<A>::finish_grow", "/rustc/abc/library/alloc/src/raw_vec/mod.rs", 763),
            frame("alloc::vec::Vec<T,A>::push", "/rustc/abc/library/alloc/src/vec/mod.rs", 2442),
            frame(function, place.0, place.1),
            frame("shop::handle::{{closure}}", "src/main.rs", 57),
            frame("shop::main", "src/main.rs", 12),
        ],
        block_bytes: 1024,
        live_blocks: Box::new(live_blocks),
        churn_blocks: 0,
    }
}

/// A recording of one process.
pub(crate) struct Recorded {
    pub(crate) pid: u32,
    pub(crate) executable: String,
    pub(crate) mode: Mode,
    pub(crate) every_ms: u64,
    pub(crate) snapshots: u64,
    pub(crate) sites: Vec<MadeUpSite>,
    /// Named checkpoints by sequence number.
    pub(crate) checkpoints: Vec<(u64, String)>,
    /// Resident memory beside the live one.
    pub(crate) resident_beside: u64,
    /// When the process began, after the first one.
    pub(crate) began_ms: u64,
}

impl Default for Recorded {
    fn default() -> Self {
        Self {
            pid: 4711,
            executable: "/srv/shop/target/release/shop".to_owned(),
            mode: Mode::Exact,
            every_ms: 1000,
            snapshots: 60,
            sites: Vec::new(),
            checkpoints: Vec::new(),
            resident_beside: 24 << 20,
            began_ms: 0,
        }
    }
}

/// What the kernel alone says of one process: memory and descriptors at each moment.
pub(crate) fn write_kernel_only(
    folder: &Path,
    pid: u32,
    moments: u64,
    mib: fn(f64) -> f64,
    descriptors: fn(u64) -> u64,
) {
    std::fs::create_dir_all(folder).unwrap();
    let made_up = Recorded { pid, ..Recorded::default() };
    for sequence in 0..moments {
        let mut snapshot = made_up.without_sites(sequence);
        snapshot.recording.source = Source::Kernel;
        snapshot.process.parent_pid = Some(1);
        snapshot.reason = Reason::Periodic;
        let held = (mib(sequence as f64) * 256.0) as u64 * 4096;
        snapshot.resident = Some(Resident {
            rss_bytes: held + (9 << 20),
            anonymous_bytes: Some(held),
            threads: Some(9),
            ..Resident::default()
        });
        snapshot.usage = Some(Usage {
            file_descriptors: Some(descriptors(sequence)),
            file_descriptors_limit: Some(1024),
            ..Usage::default()
        });
        let path = folder.join(format!("leakcheck-{pid}-{sequence:06}.json"));
        std::fs::write(path, format::to_json(&snapshot)).unwrap();
    }
}

const STARTED_UNIX_MS: u64 = 1_769_860_800_000;

impl Recorded {
    /// Three sites leak among forty.
    pub(crate) fn leaking() -> Self {
        let mut sites = vec![
            site("shop::cache::remember", ("src/cache.rs", 31), |t| 900 * t),
            site("shop::session::keep_alive", ("src/session.rs", 88), |t| 200 * t),
            site("shop::events::Bus<E>::subscribe", ("src/events.rs", 140), |t| 90 * t),
            site("shop::lru::Lru<K,V>::put", ("src/lru.rs", 9), |t| 4096.min(400 * t)),
        ];
        for n in 0..36 {
            let name = format!("shop::page::render_{n}");
            sites.push(site(&name, ("src/page.rs", 100 + n), move |t| 100 + (t * 7 + u64::from(n) * 13) % 50));
        }
        for site in &mut sites {
            site.churn_blocks = 1000;
        }
        Self { sites, ..Self::default() }
    }

    /// Nothing grows.
    pub(crate) fn flat() -> Self {
        let sites = vec![
            site("shop::lru::Lru<K,V>::put", ("src/lru.rs", 9), |t| 4096.min(2048 + 400 * t)),
            site("shop::pool::connect", ("src/pool.rs", 71), |_| 64),
            site("shop::page::render", ("src/page.rs", 101), |t| 100 + t % 7),
        ];
        Self { sites, ..Self::default() }
    }

    /// Four lives one after the other, each too short to judge, all of which grow.
    pub(crate) fn restarted(folder: &Path) {
        for life in 0..4 {
            let sites = vec![site("shop::cache::remember", ("src/cache.rs", 31), |t| 100 + 50 * t)];
            let (pid, began_ms) = (100 + life, u64::from(life) * 20_000);
            Self { pid, began_ms, snapshots: 5, sites, ..Self::default() }.write(folder);
        }
    }

    pub(crate) fn snapshot(&self, sequence: u64) -> Snapshot {
        let mut snapshot = self.without_sites(sequence);
        snapshot.threads.push("main".to_owned());
        for (number, site) in self.sites.iter().enumerate() {
            add(&mut snapshot, u32::try_from(number).unwrap(), site, sequence);
        }
        let live = snapshot.totals.live().bytes;
        snapshot.resident = Some(Resident { rss_bytes: live + self.resident_beside, ..Resident::default() });
        if sequence > 0 {
            let earlier: u64 = self.sites.iter().map(|site| (site.live_blocks)(sequence - 1) * site.block_bytes).sum();
            let point = |part: u64| {
                let live_bytes = (earlier * (4 - part) + live * part) / 4;
                let elapsed_ms = (sequence - 1) * self.every_ms + self.every_ms * part / 4;
                TimelinePoint { elapsed_ms, live_bytes, rss_bytes: live_bytes + self.resident_beside }
            };
            snapshot.timeline = (1..4).map(point).collect();
        }
        snapshot
    }

    fn without_sites(&self, sequence: u64) -> Snapshot {
        let began = STARTED_UNIX_MS + self.began_ms;
        let checkpoint = self.checkpoints.iter().find(|(at, _)| *at == sequence);
        let last = sequence + 1 == self.snapshots;
        let process = Process {
            pid: self.pid,
            started_unix_ms: began,
            executable: self.executable.clone(),
            build_id: Some("c0ffee".to_owned()),
            host: "web-1".to_owned(),
            parent_pid: None,
        };
        let recording = Recording {
            leakcheck_version: "0.1.0".to_owned(),
            mode: self.mode,
            started_unix_ms: began + 20,
            every_ms: self.every_ms,
            source: Source::Recorder,
            predating_bytes: None,
        };
        Snapshot {
            sequence,
            reason: match checkpoint {
                Some(_) => Reason::Checkpoint,
                None if last && sequence > 0 => Reason::Exit,
                None => Reason::Periodic,
            },
            label: checkpoint.map(|(_, label)| label.clone()),
            taken_unix_ms: began + 20 + sequence * self.every_ms,
            elapsed_ms: sequence * self.every_ms,
            generations: (0..=u32::try_from(sequence).unwrap())
                .map(|number| Generation { number, started_elapsed_ms: u64::from(number) * self.every_ms })
                .collect(),
            recorder_bytes: 1 << 20,
            ..Snapshot::empty(process, recording)
        }
    }

    /// Writes all snapshots into `folder` and returns their files.
    pub(crate) fn write(&self, folder: &Path) -> Vec<PathBuf> {
        std::fs::create_dir_all(folder).unwrap();
        (0..self.snapshots)
            .map(|sequence| {
                let path = folder.join(format!("leakcheck-{}-{sequence:06}.json", self.pid));
                // Without the sync of `format::write`, which takes most of the time.
                std::fs::write(&path, format::to_json(&self.snapshot(sequence))).unwrap();
                path
            })
            .collect()
    }
}

fn add(snapshot: &mut Snapshot, number: u32, made_up: &MadeUpSite, sequence: u64) {
    let mut parent = None;
    for (name, file, line) in made_up.stack.iter().rev() {
        let frame = FrameId(u32::try_from(snapshot.frames.len()).unwrap());
        let function = Function { name: name.clone(), file: Some(file.clone()), line: Some(*line) };
        snapshot.frames.push(Frame { module: None, offset: u64::from(frame.0), functions: vec![function] });
        snapshot.stacks.push(StackNode { parent, frame });
        parent = Some(StackId(u32::try_from(snapshot.stacks.len() - 1).unwrap()));
    }
    let amount = |blocks: u64| Amount::new(blocks, blocks * made_up.block_bytes);
    let live = (made_up.live_blocks)(sequence);
    let highest = (0..=sequence).map(|t| (made_up.live_blocks)(t)).max().unwrap_or(0);
    let allocated = highest + made_up.churn_blocks * sequence;
    let counters = Counters { allocated: amount(allocated), freed: amount(allocated - live), resized: 0 };
    // A site that grows keeps what was born in each interval.
    let mut survivors: Vec<Survivors> = Vec::new();
    let mut counted = 0;
    for generation in 0..=sequence {
        let kept = (made_up.live_blocks)(generation).min(live).max(counted);
        if kept > counted {
            let Amount { blocks, bytes } = amount(kept - counted);
            survivors.push(Survivors { generation: u32::try_from(generation).unwrap(), blocks, bytes });
        }
        counted = kept;
    }
    snapshot.totals = snapshot.totals.plus(counters);
    snapshot.sites.push(Site {
        id: SiteId(number),
        stack: parent,
        scope: None,
        counters,
        size: Some(SizeSummary { smallest: made_up.block_bytes, largest: made_up.block_bytes }),
        survivors,
        threads: vec![ThreadId(0)],
    });
}
