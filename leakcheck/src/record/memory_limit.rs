//! The most memory that the kernel lets this process have: the limits of its control groups.
//!
//! A group's limit holds for all processes in it together; for a container or a service that is mostly one. Not looked
//! at: `RLIMIT_AS`, which limits addresses, and the memory of the machine.

use std::fs;
use std::path::{Path, PathBuf};

/// Version 1 writes "no limit" as a number near the largest.
const UNLIMITED_FROM: u64 = 1 << 60;

/// The files that limits are read from.
#[derive(Debug, Default)]
pub(super) struct MemoryLimit {
    files: Vec<PathBuf>,
}

impl MemoryLimit {
    /// Finds the groups of this process.
    pub(super) fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of_groups(&groups, Path::new("/sys/fs/cgroup"))
    }

    /// `groups` as in `/proc/PID/cgroup`, mounted at `root`.
    fn of_groups(groups: &str, root: &Path) -> Self {
        let mut files = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (mount, name) = match controllers {
                "" => (root.to_owned(), "memory.max"),
                _ if controllers.split(',').any(|one| one == "memory") => {
                    (root.join("memory"), "memory.limit_in_bytes")
                }
                _ => continue,
            };
            // The limits of all groups around it hold too. Inside a container the outer ones cannot be seen.
            let own = mount.join(path.trim_start_matches('/'));
            let around = own.ancestors().take_while(|group| group.starts_with(&mount));
            files.extend(around.map(|group| group.join(name)).filter(|file| file.exists()));
        }
        Self { files }
    }

    /// The least of the limits now.
    pub(super) fn bytes(&self) -> Option<u64> {
        let limit = |file: &PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
        self.files.iter().filter_map(limit).filter(|bytes| *bytes < UNLIMITED_FROM).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_around_counts() {
        let root = std::env::temp_dir().join(format!("leakcheck-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("shop/web/memory.max", "max\n");
        write("shop/memory.max", "536870912\n");
        write("memory/old/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |groups: &str| MemoryLimit::of_groups(groups, &root).bytes();
        assert_eq!(limit("0::/shop/web\n"), Some(536_870_912));
        assert_eq!(limit("0::/elsewhere\n"), None);
        assert_eq!(limit("5:cpu:/\n4:cpu,memory:/old\n"), None);
        write("memory/old/memory.limit_in_bytes", "1048576\n");
        assert_eq!(limit("4:cpu,memory:/old\n0::/shop\n"), Some(1_048_576));
        assert_eq!(limit("garbage\n::\n0::\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
