//! Frames that Rust code does not have of itself: C's, hand-written assembly's, and those of vector code.

use crate::checking::{DEPTH, Found, check_here, with_checker};
use crate::unwind_support::Random;
use crate::unwind_support::machine::call_twice;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;

type Callback = extern "C" fn(*mut c_void);
type CFrame = unsafe extern "C" fn(usize, Callback, *mut c_void) -> c_int;

// frames.c
unsafe extern "C" {
    fn frame_alloca(bytes: usize, call: Callback, argument: *mut c_void) -> c_int;
    fn frame_variable(count: usize, call: Callback, argument: *mut c_void) -> c_int;
    fn frame_aligned(count: usize, call: Callback, argument: *mut c_void) -> c_int;
    fn frame_aligned_alloca(bytes: usize, call: Callback, argument: *mut c_void) -> c_int;
    fn frame_plain(depth: usize, call: Callback, argument: *mut c_void) -> c_int;
    fn frame_tail(bytes: usize, call: Callback, argument: *mut c_void) -> c_int;
}

const C_FRAMES: [CFrame; 6] =
    [frame_alloca, frame_variable, frame_aligned, frame_aligned_alloca, frame_plain, frame_tail];

// Each calls rdi(rsi).
std::arch::global_asm!(
    // BP is a general register here: it holds an address on this very stack, which no walk may take for a frame's.
    ".globl bp_is_a_number",
    ".hidden bp_is_a_number",
    ".type bp_is_a_number, @function",
    "bp_is_a_number:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_rel_offset rbp, 0",
    "lea rbp, [rsp + 40]",
    "sub rsp, 16",
    ".cfi_adjust_cfa_offset 16",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "add rsp, 16",
    ".cfi_adjust_cfa_offset -16",
    "pop rbp",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_restore rbp",
    "ret",
    ".cfi_endproc",
    ".size bp_is_a_number, . - bp_is_a_number",
    // Saves BP late and far from where a prologue would.
    ".globl bp_saved_aside",
    ".hidden bp_saved_aside",
    ".type bp_saved_aside, @function",
    "bp_saved_aside:",
    ".cfi_startproc",
    "sub rsp, 136",
    ".cfi_adjust_cfa_offset 136",
    "mov [rsp + 16], rbp",
    ".cfi_rel_offset rbp, 16",
    "xor ebp, ebp",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "mov rbp, [rsp + 16]",
    ".cfi_restore rbp",
    "add rsp, 136",
    ".cfi_adjust_cfa_offset -136",
    "ret",
    ".cfi_endproc",
    ".size bp_saved_aside, . - bp_saved_aside",
    // The frame is addressed by RBX, as in the loader's lazy binding.
    ".globl addressed_by_rbx",
    ".hidden addressed_by_rbx",
    ".type addressed_by_rbx, @function",
    "addressed_by_rbx:",
    ".cfi_startproc",
    "push rbx",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_rel_offset rbx, 0",
    "mov rbx, rsp",
    ".cfi_def_cfa_register rbx",
    "and rsp, -64",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "mov rsp, rbx",
    ".cfi_def_cfa_register rsp",
    "pop rbx",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_restore rbx",
    "ret",
    ".cfi_endproc",
    ".size addressed_by_rbx, . - addressed_by_rbx",
);

unsafe extern "C" {
    fn bp_is_a_number(call: Callback, argument: *mut c_void);
    fn bp_saved_aside(call: Callback, argument: *mut c_void);
    fn addressed_by_rbx(call: Callback, argument: *mut c_void);
}

/// A random path through frames that call back.
struct Path {
    random: Random,
    calls_left: u32,
    kinds: u64,
}

extern "C" fn descend(path: *mut c_void) {
    check_here();
    // SAFETY: only called with the one value of `random_paths`, by frames that do not touch it.
    let (left, kind, size) = unsafe {
        let path = &mut *path.cast::<Path>();
        let left = path.calls_left;
        path.calls_left = left.saturating_sub(1);
        (left, path.random.below(path.kinds), path.random.below(300) as usize)
    };
    if left > 0 {
        // SAFETY: the frames call `descend(path)` by the C convention.
        unsafe {
            match kind {
                kind if (kind as usize) < C_FRAMES.len() => _ = C_FRAMES[kind as usize](size, descend, path),
                6 => bp_is_a_number(descend, path),
                7 => bp_saved_aside(descend, path),
                8 => addressed_by_rbx(descend, path),
                9 => twice(path, bp_saved_aside),
                10 => twice(path, addressed_by_rbx),
                _ => twice(path, bp_is_a_number),
            }
        }
    }
    check_here();
}

/// Calls the frame twice, with the stack pointer 16 bytes lower the second time.
fn twice(path: *mut c_void, frame: unsafe extern "C" fn(Callback, *mut c_void)) {
    // SAFETY: `call_twice` passes its first two arguments on to the third.
    unsafe { call_twice(descend as Callback as usize, path.expose_provenance(), frame as *const ()) };
}

fn random_paths(count: u32, kinds: u64) -> Found {
    with_checker(DEPTH, || {
        for seed in 0..count {
            let mut path = Path { random: Random::new(seed.into()), calls_left: 12, kinds };
            descend((&raw mut path).cast());
        }
    })
}

pub(crate) fn c_frames(effort: u32) -> Found {
    random_paths(30 * effort, C_FRAMES.len() as u64)
}

pub(crate) fn by_hand(effort: u32) -> Found {
    random_paths(30 * effort, C_FRAMES.len() as u64 + 6)
}

/// Two frames of a size known at run time, one inside the other.
struct Nested {
    inner_bytes: usize,
    inner: CFrame,
    /// Whether BP goes over memory from each frame to the next, and not in the register.
    is_saved: bool,
}

extern "C" fn nest(nested: *mut c_void) {
    // SAFETY: only called with the value of `same_sum`, by a frame that does not touch it.
    let is_saved = unsafe { (*nested.cast::<Nested>()).is_saved };
    if is_saved {
        // SAFETY: calls its argument by the C convention.
        unsafe { bp_saved_aside(nest_inner, nested) };
    } else {
        nest_inner(nested);
    }
}

extern "C" fn nest_inner(nested: *mut c_void) {
    extern "C" fn check(_: *mut c_void) {
        check_here();
    }
    extern "C" fn check_aside(nested: *mut c_void) {
        // SAFETY: calls its argument by the C convention.
        unsafe { bp_saved_aside(check, nested) };
    }
    // SAFETY: as in `nest`.
    let Nested { inner_bytes, inner, is_saved } = unsafe { &*nested.cast::<Nested>() };
    // SAFETY: calls its argument by the C convention.
    unsafe { inner(*inner_bytes, if *is_saved { check_aside } else { check }, nested) };
}

/// Frames whose sizes differ but add up to the same: the innermost frame always lies in the same place with the same return
/// address, and what frames of other sizes left behind still lies, word for word, where it lay.
pub(crate) fn same_sum(effort: u32) -> Found {
    const DYNAMIC: [CFrame; 4] = [frame_alloca, frame_aligned_alloca, frame_variable, frame_tail];
    with_checker(DEPTH, || {
        let mut random = Random::new(31);
        for _ in 0..300 * effort {
            let (outer, inner) = (random.below(4) as usize, random.below(2) as usize);
            let bytes = 64 * random.below(16) as usize;
            let mut nested =
                Nested { inner_bytes: 1024 - bytes, inner: DYNAMIC[inner], is_saved: random.below(2) == 0 };
            // That of this place counts in words.
            let size = if outer == 2 { bytes / 8 } else { bytes };
            // SAFETY: the frame calls `nest` by the C convention.
            unsafe { DYNAMIC[outer](size, nest, (&raw mut nested).cast()) };
        }
    })
}

unsafe extern "C" fn compare_numbers(a: *const c_void, b: *const c_void) -> c_int {
    check_here();
    // SAFETY: the callers below pass arrays of i32.
    unsafe { (*a.cast::<i32>()).cmp(&*b.cast::<i32>()) as c_int }
}

unsafe extern "C" {
    fn pthread_once(flag: *mut c_int, routine: extern "C" fn()) -> c_int;
}

/// Callbacks from libraries that others compiled.
pub(crate) fn c_callbacks(effort: u32) -> Found {
    extern "C" fn once() {
        check_here();
    }
    extern "C" fn module(_info: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
        check_here();
        0
    }
    with_checker(DEPTH, || {
        // Small: sorted on the stack. Large: glibc takes another way.
        for count in [3, 50, 300 * effort as i32] {
            let mut numbers: Vec<i32> = (0..count).map(|n| n * 7919 % 1009).collect();
            // SAFETY: the array has `count` elements of 4 bytes; then it is sorted.
            unsafe {
                libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(compare_numbers));
                let (key, start) = ((&raw const numbers[1]).cast(), numbers.as_ptr().cast());
                assert!(!libc::bsearch(key, start, numbers.len(), 4, Some(compare_numbers)).is_null());
            }
        }
        let mut flag = 0;
        // SAFETY: the flag is that of this one call; the callbacks have the right types.
        unsafe {
            pthread_once(&raw mut flag, once);
            libc::dl_iterate_phdr(Some(module), std::ptr::null_mut());
        }
    })
}

thread_local! {
    static VECTOR_RANDOM: RefCell<Random> = RefCell::new(Random::new(11));
}

/// Keeps wide registers over calls, so its stack is aligned to 32 bytes.
#[target_feature(enable = "avx")]
#[inline(never)]
fn vector_frame(depth: u32) -> f64 {
    use std::arch::x86_64::{__m256d, _mm256_add_pd, _mm256_cvtsd_f64, _mm256_set1_pd};
    let mut sum: __m256d = black_box(_mm256_set1_pd(f64::from(depth)));
    black_box(&mut sum);
    if depth > 0 {
        let next = VECTOR_RANDOM.with_borrow_mut(|random| random.below(2));
        // SAFETY: this function runs, so the processor has the feature.
        let below = unsafe { if next == 0 { vector_frame(depth - 1) } else { scalar_frame(depth - 1) } };
        sum = _mm256_add_pd(sum, _mm256_set1_pd(below));
    }
    check_here();
    _mm256_cvtsd_f64(black_box(sum))
}

/// # Safety
/// The processor has AVX.
#[inline(never)]
unsafe fn scalar_frame(depth: u32) -> f64 {
    check_here();
    // SAFETY: by this function's contract.
    let below = if depth > 0 { unsafe { vector_frame(depth - 1) } } else { 0.0 };
    black_box(below) * 0.5
}

/// Frames that are aligned for vectors. Where the processor has none, only plain ones.
pub(crate) fn vectors(effort: u32) -> Found {
    with_checker(DEPTH, || {
        for depth in 0..6 * effort {
            if std::is_x86_feature_detected!("avx") {
                // SAFETY: detected just now.
                black_box(unsafe { scalar_frame(depth % 20) });
            } else {
                check_here();
            }
        }
    })
}
