//! How much of the threads' stacks is resident.
//!
//! glibc puts a thread's control block at the top of its stack, and a stack is touched from there downwards. So from the
//! thread pointer on the kernel is asked (`mincore`) about one piece after another, until a page is not resident. The
//! main thread's stack is in the kernel's own figures.

use super::thread;

/// Pages asked about at once.
const PAGES: usize = 32;
/// No more of a stack than this is looked at, and no more threads: a bound on what a snapshot may cost.
const PIECES_MAX: usize = 512;
const THREADS_MAX: usize = 1024;

/// Resident bytes of the stacks of all threads that have allocated or freed, but the main one's.
pub(super) fn resident_bytes() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let tops = thread::states().filter_map(thread::ThreadState::stack_top).take(THREADS_MAX);
    tops.map(|top| resident_below(top, page)).sum()
}

fn resident_below(top: usize, page: usize) -> u64 {
    let mut end = (top / page + 1) * page;
    let mut pages = 0;
    for _ in 0..PIECES_MAX {
        let Some(start) = end.checked_sub(PAGES * page) else { break };
        let mut resident = [0_u8; PAGES];
        // SAFETY: `resident` has a byte for each page of the range; the kernel reads no memory of the range, and says so
        // when it is not mapped (the thread may have ended).
        let told = unsafe { libc::mincore(start as *mut libc::c_void, PAGES * page, resident.as_mut_ptr()) };
        if told != 0 {
            break;
        }
        // The page below the deepest one that was touched is not resident, nor is the guard below the stack.
        let here = resident.iter().rev().take_while(|byte| **byte & 1 == 1).count();
        pages += here;
        if here < PAGES {
            break;
        }
        end = start;
    }
    (pages * page) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_as_large_as_it_was_used() {
        #[inline(never)]
        fn deep(left: u32) -> u64 {
            let mut bytes = [0_u8; 4096];
            std::hint::black_box(&mut bytes);
            if left == 0 { u64::from(bytes[7]) } else { deep(left - 1) + u64::from(bytes[9]) }
        }
        let used = |depth: u32| {
            let thread = std::thread::spawn(move || {
                deep(depth);
                resident_below(crate::unwind::top_of_thread().unwrap(), 4096)
            });
            thread.join().unwrap()
        };
        let (shallow, deeper) = (used(1), used(200));
        assert!(shallow > 0 && shallow < 512 << 10, "{shallow}");
        assert!((800 << 10..4 << 20).contains(&deeper), "{deeper}");
    }

    /// Small stacks lie close together, with one page between them.
    #[test]
    fn a_stack_ends_at_its_guard() {
        const STACK: usize = 64 << 10;
        let all_there = std::sync::Barrier::new(40);
        std::thread::scope(|scope| {
            for _ in 0..40 {
                let measure = || {
                    all_there.wait();
                    let used = resident_below(crate::unwind::top_of_thread().unwrap(), 4096);
                    all_there.wait();
                    assert!(used <= 2 * STACK as u64, "{used}");
                };
                std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, measure).unwrap();
            }
        });
    }
}
