//! Which threads there were before the first trial of the process. A thread that the recorder meets for the first time
//! may have been there all along, and is then no trial's.
//!
//! Known by their ids. The kernel uses ids again, so where one is on the list the time at which its thread began decides.

use super::memory;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Threads noted; where there are more, the time decides for all.
const NOTED_MAX: usize = 4096;

static NOTED: Once = Once::new();
static IDS: [AtomicU32; NOTED_MAX] = [const { AtomicU32::new(0) }; NOTED_MAX];
static LEN: AtomicU32 = AtomicU32::new(0);
/// When they were noted, in clock ticks since the machine was started.
static NOTED_TICKS: AtomicU64 = AtomicU64::new(0);

/// Notes all threads there are, the first time it is called.
pub(super) fn note() {
    NOTED.call_once(|| {
        NOTED_TICKS.store(now_ticks(), Ordering::Relaxed);
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok());
        for id in ids {
            let place = LEN.fetch_add(1, Ordering::Relaxed) as usize;
            if let Some(slot) = IDS.get(place) {
                // Relaxed: trials begin after this, and are asked about first.
                slot.store(id, Ordering::Relaxed);
            }
        }
    });
}

/// Whether the calling thread is one of them.
#[cold]
pub(super) fn is_old() -> bool {
    // SAFETY: gettid has no preconditions.
    let id = unsafe { libc::gettid() } as u32;
    let len = LEN.load(Ordering::Relaxed) as usize;
    let may_be = len > NOTED_MAX || IDS[..len.min(NOTED_MAX)].iter().any(|other| other.load(Ordering::Relaxed) == id);
    may_be && memory::keeping_errno(began_ticks).is_none_or(|began| began <= NOTED_TICKS.load(Ordering::Relaxed))
}

fn now_ticks() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writing, and sysconf has no preconditions.
    let per_s = unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now);
        libc::sysconf(libc::_SC_CLK_TCK)
    };
    let per_s = u64::try_from(per_s).unwrap_or(100).max(1);
    now.tv_sec as u64 * per_s + now.tv_nsec as u64 * per_s / 1_000_000_000
}

/// When the calling thread began, in clock ticks since the machine was started. May run in the hook.
fn began_ticks() -> Option<u64> {
    let mut text = [0_u8; 512];
    // SAFETY: the path is a C string, the buffer is valid for writing as many bytes as it has, and the file is closed.
    let read = unsafe {
        let file = libc::open(c"/proc/thread-self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let read = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        read
    };
    field_22(text.get(..usize::try_from(read).ok()?)?)
}

/// The time in a line of `stat`: the name in parentheses may hold anything, and 20 fields follow up to this one.
fn field_22(line: &[u8]) -> Option<u64> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let field = line[name_end + 1..].split(|byte| *byte == b' ').nth(20)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_began_before_is_old_and_a_later_one_is_not() {
        let before = now_ticks();
        note();
        assert!(is_old());
        let began = began_ticks().unwrap();
        assert!(began <= before + 1, "{began} {before}");
        assert!(std::thread::spawn(|| !is_old()).join().unwrap());
        assert_eq!(field_22(b"1 (a) b) S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 4711 21 22"), Some(4711));
    }
}
