//! A tree of calls: at each of 64 levels four functions with frames of different sizes, each calling one of the next
//! four. A way down it is a number, two bits a level.

use std::hint::black_box;
use std::mem::MaybeUninit;

/// The most frames that [`descend`] can put on the stack.
pub(super) const LEVELS: u32 = 64;

/// Calls `bottom` from `frames` frames further down, by the way that the bits of `way` choose. Levels beyond the
/// thirty-second repeat its choices.
pub(super) fn descend(way: u64, frames: u32, bottom: &mut dyn FnMut()) {
    assert!(frames <= LEVELS, "the tree has {LEVELS} levels");
    if frames == 0 { bottom() } else { level_00::<8>(way, frames, bottom) }
}

macro_rules! levels {
    ($this:ident $next:ident $($rest:ident)*) => {
        #[inline(never)]
        fn $this<const FRAME: usize>(way: u64, frames: u32, bottom: &mut dyn FnMut()) {
            let frame = [MaybeUninit::<u8>::uninit(); FRAME];
            black_box(&frame);
            let further = way.rotate_right(2);
            match (frames, way & 3) {
                (..=1, _) => bottom(),
                (_, 0) => $next::<8>(further, frames - 1, bottom),
                (_, 1) => $next::<40>(further, frames - 1, bottom),
                (_, 2) => $next::<104>(further, frames - 1, bottom),
                _ => $next::<232>(further, frames - 1, bottom),
            }
            // The frame is needed until here, so that the call is no jump.
            black_box(&frame);
        }
        levels!($next $($rest)*);
    };
    ($last:ident) => {
        #[inline(never)]
        fn $last<const FRAME: usize>(_: u64, _: u32, bottom: &mut dyn FnMut()) {
            let frame = [MaybeUninit::<u8>::uninit(); FRAME];
            black_box(&frame);
            bottom();
            black_box(&frame);
        }
    };
}

levels!(
    level_00 level_01 level_02 level_03 level_04 level_05 level_06 level_07
    level_08 level_09 level_10 level_11 level_12 level_13 level_14 level_15
    level_16 level_17 level_18 level_19 level_20 level_21 level_22 level_23
    level_24 level_25 level_26 level_27 level_28 level_29 level_30 level_31
    level_32 level_33 level_34 level_35 level_36 level_37 level_38 level_39
    level_40 level_41 level_42 level_43 level_44 level_45 level_46 level_47
    level_48 level_49 level_50 level_51 level_52 level_53 level_54 level_55
    level_56 level_57 level_58 level_59 level_60 level_61 level_62 level_63
);
