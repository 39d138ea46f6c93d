//! Proof at start-up that walks are right in this program: a known stack is walked and compared to the `backtrace` crate.
//!
//! It finds programs without unwind tables, and whatever else would make every recorded stack wrong, before the first one is
//! recorded. Deliberately outside the hook: the other unwinder may lock.

use super::{End, Unwinder};
use core::fmt;
use core::hint::black_box;

/// Most frames the two unwinders are compared over.
const COMPARED_MAX: usize = 256;

/// Why stacks of this program cannot be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The walk ended inside the known frames.
    Short { depth: u32, end: End },
    /// A frame differs from what the other unwinder says.
    Different { frame: u32, walked: usize, expected: usize },
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Short { depth, end: End::NoRule } => write!(
                f,
                "walk a known stack: no unwind tables after {depth} frames (was this built with `-C force-unwind-tables=no`?)"
            ),
            Reason::Short { depth, end } => {
                write!(f, "walk a known stack: it ended after {depth} frames ({end:?})")
            }
            Reason::Different { frame, walked, expected } => {
                write!(f, "walk a known stack: frame {frame} is {walked:#x}, expected {expected:#x}")
            }
        }
    }
}

impl core::error::Error for Unsupported {}

/// Frames of [`descend`] on the known stack, at least.
const DESCENT: u32 = 6;

pub(super) fn run() -> Result<(), Unsupported> {
    let mut unwinder = Unwinder::boxed();
    // Twice: the first walk compiles its rules and finds the stack, the second takes the kept frames over.
    descend(DESCENT, &mut unwinder)?;
    descend(DESCENT - 1, &mut unwinder)
}

#[inline(never)]
fn descend(depth: u32, unwinder: &mut Unwinder) -> Result<(), Unsupported> {
    let mut local = [depth; 4];
    black_box(&mut local);
    let result = if depth == 0 { compare(unwinder) } else { descend(local[1] - 1, unwinder) };
    black_box(local);
    result
}

/// Walks its own stack both ways.
#[inline(never)]
fn compare(unwinder: &mut Unwinder) -> Result<(), Unsupported> {
    let mut expected = [0usize; COMPARED_MAX];
    let mut count = 0;
    backtrace::trace(|frame| {
        let address = frame.ip().expose_provenance();
        if count < COMPARED_MAX && address != 0 {
            expected[count] = address;
            count += 1;
        }
        count < COMPARED_MAX
    });
    // SAFETY: this unwinder has only been on this thread; `prepare` has resolved what walks need. Nothing else in the process walks
    // yet where the portable unwinder asks for that.
    let walk = unsafe { unwinder.walk(COMPARED_MAX as u32) };
    let reason = |reason| Err(Unsupported { reason });
    if walk.depth < DESCENT {
        return reason(Reason::Short { depth: walk.depth, end: walk.end });
    }
    let mut frames = unwinder.frames().addresses().rev();
    let Some(first) = frames.next() else {
        return reason(Reason::Short { depth: 0, end: walk.end });
    };
    // The other unwinder starts inside itself. Recursion repeats an address, so take the last run that fits.
    let Some(start) = expected[..count].iter().position(|&address| address == first) else {
        return reason(Reason::Different { frame: 0, walked: first, expected: expected[0] });
    };
    let pairs = frames.zip(&expected[start + 1..count]);
    for (frame, (walked, &expected)) in (1..).zip(pairs) {
        if walked != expected {
            return reason(Reason::Different { frame, walked, expected });
        }
    }
    if (walk.depth as usize) < count - start && count < COMPARED_MAX {
        return reason(Reason::Short { depth: walk.depth, end: walk.end });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_program_can_be_walked() {
        assert_eq!(crate::unwind::prepare(), Ok(()));
    }
}
