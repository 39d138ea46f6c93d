//! What the control groups of a process say of memory: its limit, what is in use, and whether tasks wait for it.
//!
//! A group's limit holds for all processes in it together; for a container or a service that is mostly one. Not looked
//! at: `RLIMIT_AS`, which limits addresses, and the memory of the machine.

use std::fs;
use std::path::{Path, PathBuf};

/// Version 1 writes "no limit" as a number near the largest.
const UNLIMITED_FROM: u64 = 1 << 60;

/// The control groups around a process that count memory, innermost first.
#[derive(Debug, Default)]
pub struct ControlGroups {
    groups: Vec<Group>,
}

/// How near a group is to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupUse {
    /// What the kernel cannot simply drop: memory in use less file pages that were not touched for a while.
    pub used_bytes: u64,
    /// The limit.
    pub limit_bytes: u64,
}

impl GroupUse {
    /// The part of the limit that is used, in thousandths.
    #[must_use]
    pub const fn permille(self) -> u64 {
        (self.used_bytes as u128 * 1000 / if self.limit_bytes == 0 { 1 } else { self.limit_bytes as u128 }) as u64
    }
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    names: &'static Names,
}

/// The names of files, by version of the control groups.
#[derive(Debug)]
struct Names {
    limit: &'static str,
    used: &'static str,
    /// Of file pages that can be dropped, in `memory.stat`.
    droppable: &'static str,
}

const V2: Names = Names { limit: "memory.max", used: "memory.current", droppable: "inactive_file " };
const V1: Names =
    Names { limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", droppable: "total_inactive_file " };

impl ControlGroups {
    /// The groups of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::in_file(Path::new("/proc/self/cgroup"))
    }

    /// The groups of another process; none where they cannot be read.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        Self::in_file(Path::new(&format!("/proc/{pid}/cgroup")))
    }

    fn in_file(file: &Path) -> Self {
        Self::named(&fs::read_to_string(file).unwrap_or_default(), Path::new("/sys/fs/cgroup"))
    }

    /// `groups` as in `/proc/PID/cgroup`, mounted at `root`.
    fn named(groups: &str, root: &Path) -> Self {
        let mut found = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (mount, names) = match controllers {
                "" => (root.to_owned(), &V2),
                _ if controllers.split(',').any(|one| one == "memory") => (root.join("memory"), &V1),
                _ => continue,
            };
            // The limits of all groups around it hold too. Inside a container the outer ones cannot be seen.
            let own = mount.join(path.trim_start_matches('/'));
            let around = own.ancestors().take_while(|group| group.starts_with(&mount));
            let around = around.map(|folder| Group { folder: folder.to_owned(), names });
            found.extend(around.filter(|group| group.folder.join(names.limit).exists()));
        }
        Self { groups: found }
    }

    /// The least of the limits now.
    #[must_use]
    pub fn limit_bytes(&self) -> Option<u64> {
        self.groups.iter().filter_map(Group::limit_bytes).min()
    }

    /// What the innermost group has in use, page cache included.
    #[must_use]
    pub fn used_bytes(&self) -> Option<u64> {
        self.groups.first().and_then(|group| group.number(group.names.used))
    }

    /// The group that is nearest to its limit; `None` where there is no limit.
    #[must_use]
    pub fn fullest(&self) -> Option<GroupUse> {
        let uses = self.groups.iter().filter_map(|group| {
            Some(GroupUse { limit_bytes: group.limit_bytes()?, used_bytes: group.unreclaimable_bytes()? })
        });
        uses.max_by_key(|one| one.permille())
    }

    /// Of the last ten seconds, how many thousandths some task waited for memory: of the innermost group that tells, else
    /// of the machine.
    #[must_use]
    pub fn pressure_permille(&self) -> Option<u32> {
        let groups = self.groups.iter().map(|group| group.folder.join("memory.pressure"));
        let mut files = groups.chain([PathBuf::from("/proc/pressure/memory")]);
        files.find_map(|file| some_avg10(&fs::read_to_string(file).ok()?))
    }
}

impl Group {
    fn number(&self, name: &str) -> Option<u64> {
        fs::read_to_string(self.folder.join(name)).ok()?.trim().parse().ok()
    }

    fn limit_bytes(&self) -> Option<u64> {
        self.number(self.names.limit).filter(|bytes| *bytes < UNLIMITED_FROM)
    }

    fn unreclaimable_bytes(&self) -> Option<u64> {
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let droppable = stat.lines().find_map(|line| line.strip_prefix(self.names.droppable)?.trim().parse().ok());
        Some(self.number(self.names.used)?.saturating_sub(droppable.unwrap_or(0)))
    }
}

/// Says when the process is about to be killed for want of memory, and it is time for a last snapshot. Not too often: each
/// stage once while the group climbs, and again only when it fell in between.
#[derive(Debug, Default)]
pub struct MemoryEdge {
    /// Stages passed on this climb.
    stage: usize,
    said_ms: Option<u64>,
    pressed_ms: Option<u64>,
    /// How often it was time so far.
    told: u32,
}

impl MemoryEdge {
    /// Parts of the limit, in thousandths.
    const STAGES: [u64; 3] = [900, 950, 980];
    /// Fallen below this, the group climbs anew.
    const FALLEN: u64 = 800;
    /// Time between two climbs that are told.
    const PAUSE_MS: u64 = 10_000;
    /// Tasks wait for memory for this part of the time.
    const PRESSED_PERMILLE: u32 = 300;
    const PRESSED_PAUSE_MS: u64 = 60_000;
    /// Each time it was time so often, all pauses double: a group that lives at its limit shall not fill the disk.
    const TOLD_DOUBLES: u32 = 10;

    /// Looks at the groups, `now_ms` on any clock that does not go back; if it is time, what to call the snapshot.
    pub fn look(&mut self, now_ms: u64, groups: &ControlGroups) -> Option<String> {
        self.look_at(now_ms, groups.fullest(), groups.pressure_permille())
    }

    /// The same of figures that are known already: the fullest group, and for how many thousandths of the time tasks wait.
    pub fn look_at(&mut self, now_ms: u64, fullest: Option<GroupUse>, pressure: Option<u32>) -> Option<String> {
        let since = |then: Option<u64>| then.map_or(u64::MAX, |then| now_ms.saturating_sub(then));
        let permille = fullest.map_or(0, GroupUse::permille);
        let doubled = (self.told / Self::TOLD_DOUBLES).min(20);
        if permille < Self::FALLEN && since(self.said_ms) >= Self::PAUSE_MS << doubled {
            self.stage = 0;
        }
        let stage = Self::STAGES.iter().filter(|from| permille >= **from).count();
        if stage > self.stage {
            self.stage = stage;
            self.told += 1;
            self.said_ms = Some(now_ms);
            let limit_mib = fullest?.limit_bytes as f64 / f64::from(1 << 20);
            return Some(format!("memory at {} % of the limit of {limit_mib:.0} MiB", permille / 10));
        }
        let pressed = pressure.filter(|pressure| *pressure >= Self::PRESSED_PERMILLE);
        if let Some(pressure) = pressed
            && since(self.pressed_ms) >= Self::PRESSED_PAUSE_MS << doubled
        {
            self.told += 1;
            self.pressed_ms = Some(now_ms);
            return Some(format!("tasks waited for memory {} % of the time", pressure / 10));
        }
        None
    }
}

/// `some avg10=1.25 …` as thousandths of ten seconds: 12.
fn some_avg10(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let percent: f64 = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    Some((percent * 10.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_told_once_a_stage_and_climb() {
        let mut edge = MemoryEdge::default();
        let mut at = |second: u64, percent: u64, pressure: u32| {
            let group = GroupUse { used_bytes: percent << 20, limit_bytes: 100 << 20 };
            edge.look_at(second * 1000, Some(group), Some(pressure))
        };
        assert_eq!(at(0, 50, 0), None);
        assert_eq!(at(1, 91, 0).as_deref(), Some("memory at 91 % of the limit of 100 MiB"));
        assert_eq!(at(2, 92, 0), None);
        assert!(at(3, 99, 0).is_some());
        assert_eq!((at(4, 96, 0), at(5, 99, 0), at(6, 50, 0), at(7, 99, 0)), (None, None, None, None));
        assert_eq!(at(20, 50, 0), None);
        assert!(at(21, 99, 0).is_some(), "it climbs anew");
        assert_eq!(at(22, 50, 450).as_deref(), Some("tasks waited for memory 45 % of the time"));
        assert_eq!((at(23, 50, 450), at(83, 50, 450).is_some()), (None, true));
        assert_eq!(MemoryEdge::default().look_at(0, None, None), None);
    }

    #[test]
    fn a_group_that_lives_at_its_limit_is_told_ever_less() {
        let mut edge = MemoryEdge::default();
        let day = (0..86_400).filter(|second| {
            let percent = if second % 30 < 15 { 50 } else { 99 };
            let group = GroupUse { used_bytes: percent << 20, limit_bytes: 100 << 20 };
            edge.look_at(second * 1000, Some(group), Some(500)).is_some()
        });
        let count = day.count();
        assert!((20..150).contains(&count), "{count}");
    }

    #[test]
    fn the_least_limit_of_all_groups_around_counts() {
        let root = std::env::temp_dir().join(format!("leakcheck-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("shop/web/memory.max", "max\n");
        write("shop/web/memory.current", "1000\n");
        write("shop/web/memory.pressure", "some avg10=12.34 avg60=0 avg300=0 total=5\nfull avg10=1.00\n");
        write("shop/memory.max", "536870912\n");
        write("shop/memory.current", "500000000\n");
        write("shop/memory.stat", "anon 400000000\ninactive_file 99000000\nactive_file 1000000\n");
        write("memory/old/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |groups: &str| ControlGroups::named(groups, &root).limit_bytes();
        assert_eq!(limit("0::/shop/web\n"), Some(536_870_912));
        assert_eq!(limit("0::/elsewhere\n"), None);
        assert_eq!(limit("5:cpu:/\n4:cpu,memory:/old\n"), None);
        write("memory/old/memory.limit_in_bytes", "1048576\n");
        assert_eq!(limit("4:cpu,memory:/old\n0::/shop\n"), Some(1_048_576));
        assert_eq!(limit("garbage\n::\n0::\n"), None);
        let groups = ControlGroups::named("0::/shop/web\n", &root);
        assert_eq!((groups.used_bytes(), groups.pressure_permille()), (Some(1000), Some(123)));
        let fullest = groups.fullest().unwrap();
        assert_eq!(fullest, GroupUse { used_bytes: 401_000_000, limit_bytes: 536_870_912 });
        assert_eq!(fullest.permille(), 746);
        fs::remove_dir_all(&root).unwrap();
    }
}
