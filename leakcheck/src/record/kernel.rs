//! What the kernel and the C library say of this process.

use super::config::AllocatorStatistics;
use super::thread_stacks;
use crate::cgroup::ControlGroups;
use crate::model::{Process, Resident};
use crate::symbolize;
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Which process this is.
pub(super) fn process() -> Process {
    let modules = symbolize::loaded_modules();
    let executable = modules.first();
    Process {
        pid: std::process::id(),
        started_unix_ms: started_unix_ms().unwrap_or(0),
        executable: executable.map_or_else(String::new, |module| module.module.path.clone()),
        build_id: executable.and_then(|module| module.module.build_id.clone()),
        host: fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| String::new(), |s| s.trim().to_owned()),
        parent_pid: Some(std::os::unix::process::parent_id()),
    }
}

/// Start of the process in clock ticks since the machine's: field 22 of `/proc/self/stat`.
pub(super) fn started_ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; the fields after it are numbers.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Start of the process: boot time plus its clock ticks.
fn started_unix_ms() -> Option<u64> {
    let ticks = started_ticks()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot_s: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    // SAFETY: sysconf has no preconditions.
    let ticks_per_s = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0)?;
    Some(boot_s * 1000 + ticks * 1000 / ticks_per_s)
}

/// Resident memory now; `None` where `/proc` is not mounted.
pub(super) fn resident(allocator: Option<AllocatorStatistics>, groups: &ControlGroups) -> Option<Resident> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let number = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let bytes = |key: &str| number(key).map(|kib| kib * 1024);
    Some(Resident {
        rss_bytes: bytes("VmRSS")?,
        anonymous_bytes: bytes("RssAnon"),
        file_bytes: bytes("RssFile"),
        shared_bytes: bytes("RssShmem"),
        swap_bytes: bytes("VmSwap"),
        virtual_bytes: bytes("VmSize"),
        stack_bytes: bytes("VmStk"),
        peak_rss_bytes: bytes("VmHWM"),
        thread_stack_bytes: Some(thread_stacks::resident_bytes()),
        allocator_held_bytes: allocator.map(|allocator| allocator.held_bytes),
        allocator_used_bytes: allocator.map(|allocator| allocator.used_bytes),
        limit_bytes: groups.limit_bytes(),
        threads: number("Threads"),
    })
}

/// Bytes in use by the program now. What the program says of its own allocator, else the C library; where that knows of less
/// than half of the anonymous memory, something else allocates, and the anonymous memory is taken.
pub(super) fn bytes_in_use(programs: Option<fn() -> Option<AllocatorStatistics>>) -> Option<u64> {
    let allocator = AllocatorLook::new(programs).look().map(|allocator| allocator.used_bytes);
    let resident = resident(None, &ControlGroups::default());
    let anonymous = resident.and_then(|resident| Some(resident.anonymous_bytes? + resident.swap_bytes.unwrap_or(0)));
    match (allocator, anonymous) {
        (Some(used), Some(anonymous)) if programs.is_none() && used < anonymous / 2 => Some(anonymous),
        (used, anonymous) => used.or(anonymous),
    }
}

/// Resident set size from `/proc/self/statm`, cheaper than the whole status; 0 when unknown.
pub(super) fn rss_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
    // SAFETY: sysconf has no preconditions.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    pages.unwrap_or(0) * page
}

/// The allocator's own statistics, asked for rarely: `mallinfo2` walks free lists under the allocator's locks.
#[derive(Debug)]
pub(super) struct AllocatorLook {
    ask: fn() -> Option<AllocatorStatistics>,
    next: Option<Instant>,
    last: Option<AllocatorStatistics>,
}

impl AllocatorLook {
    /// At most one look in this time, and 1,000 times its own cost.
    const PAUSE: Duration = Duration::from_secs(2);

    /// Asks what the program says of its allocator, else the C library.
    pub(super) fn new(programs: Option<fn() -> Option<AllocatorStatistics>>) -> Self {
        Self { ask: programs.unwrap_or(mallinfo2), next: None, last: None }
    }

    /// At most a few seconds old.
    pub(super) fn look(&mut self) -> Option<AllocatorStatistics> {
        let now = Instant::now();
        if self.next.is_none_or(|next| now >= next) {
            // It may be the program's code; what is wrong with it is not the recording's end.
            self.last = std::panic::catch_unwind(self.ask).ok().flatten();
            self.next = Some(now + Self::PAUSE.max(now.elapsed() * 1000));
        }
        self.last
    }
}

/// `struct mallinfo2` of glibc 2.33 and later.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

fn mallinfo2() -> Option<AllocatorStatistics> {
    static FUNCTION: OnceLock<Option<unsafe extern "C" fn() -> Mallinfo2>> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| {
        // SAFETY: the name is a C string; looking up a symbol has no other precondition.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
        // SAFETY: glibc documents this signature for the symbol; null becomes `None`.
        unsafe { std::mem::transmute::<*mut libc::c_void, Option<unsafe extern "C" fn() -> Mallinfo2>>(address) }
    });
    // SAFETY: the function takes no arguments and may be called at any time from a normal thread.
    let info = unsafe { (*function)?() };
    Some(AllocatorStatistics {
        held_bytes: (info.arena + info.hblkhd) as u64,
        used_bytes: (info.uordblks + info.hblkhd) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let process = process();
        assert_eq!(process.pid, std::process::id());
        let age_ms = unix_ms().saturating_sub(process.started_unix_ms);
        assert!(age_ms < 24 * 3600 * 1000, "started {age_ms} ms ago");
        let resident = resident(None, &ControlGroups::default()).unwrap();
        assert!(resident.rss_bytes > 0 && resident.threads.unwrap() >= 1);
        assert!(rss_bytes() > 0);
    }
}
