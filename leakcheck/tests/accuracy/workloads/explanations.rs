//! Why framehop may differ from the other two. A difference that is none of these is a mistake.

use crate::framehop_witness::Kind;

/// One reason, and how it shows: in the frame whose caller is in question, or in the frame below it, which was left wrongly.
struct Explanation {
    is_shown_by: fn(frame: &str, below: &str) -> bool,
    reason: &'static str,
}

const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        is_shown_by: |frame, _| frame.contains("signal trampoline"),
        reason: "framehop does not read the kernel's signal frame (registers saved at expressions)",
    },
    Explanation {
        is_shown_by: |_, below| below.starts_with("frame_aligned"),
        reason: "framehop does not restore BP from where GCC's realigned frame saves it (an expression)",
    },
    Explanation {
        is_shown_by: |frame, _| frame == "addressed_by_rbx",
        reason: "framehop knows no RBX, which this frame is addressed by",
    },
    Explanation {
        is_shown_by: |frame, _| frame.contains("stack_init_trampoline") || frame.contains("stack_call_trampoline"),
        reason: "framehop does not follow a coroutine's stack to the one that resumed it (an expression)",
    },
    Explanation {
        is_shown_by: |frame, below| frame.contains("libc.so") && below.contains("on_the_other_stack"),
        reason: "framehop does not see that a context's first frame has no caller (an undefined return address)",
    },
    Explanation {
        is_shown_by: |frame, below| {
            frame == "code without a name" && (below.contains("libraries::") || below.ends_with("check_here"))
        },
        reason: "framehop is told of the modules that are there when it starts, not of libraries loaded later",
    },
    Explanation {
        is_shown_by: |frame, _| frame == "main" && cfg!(panic = "abort"),
        reason: "framehop guesses on beyond `main`, which the compiler gives no unwind table where panics abort",
    },
];

/// The reason for a difference, if it is a known one.
pub(crate) fn explain(kind: Kind, frame: &str, below: &str) -> Option<&'static str> {
    let is_framehops = kind != Kind::Backtrace;
    EXPLANATIONS.iter().find(|it| is_framehops && (it.is_shown_by)(frame, below)).map(|it| it.reason)
}
