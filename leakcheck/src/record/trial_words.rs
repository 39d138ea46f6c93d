//! Which scope a block belongs to while a test asserts something of it, as far as the hook has to know.
//!
//! An assertion's run is a *trial*. Its scope is no name but a word: the trial's place in the tables here, and the *round*
//! that is under way. So blocks are told apart by trial and by birth round without another look at anything, and trials
//! of parallel tests do not see each other. No locks; what happens outside the hook is in `trials`.

use super::old_threads;
use std::sync::atomic::{AtomicU32, Ordering};

/// Trials that run, or whose blocks are still about, at one time.
pub(super) const TRIALS_MAX: u32 = 1 << PLACE_BITS;
/// Rounds of a trial that are told apart.
pub(super) const ROUNDS_MAX: u32 = 1 << (31 - PLACE_BITS);
const PLACE_BITS: u32 = 14;
/// Set in words of trials, which no number of a named scope reaches.
const TRIAL: u32 = 1 << 31;

/// The words of the trials that run, by place; 0 where none does.
static RUNNING: [AtomicU32; TRIALS_MAX as usize] = [const { AtomicU32::new(0) }; TRIALS_MAX as usize];
/// The newest site of each place, from which the others are reached; 0 is none.
static NEWEST_SITE: [AtomicU32; TRIALS_MAX as usize] = [const { AtomicU32::new(0) }; TRIALS_MAX as usize];
/// How many trials run.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// The word of the trial that takes all threads, 0 when there is none.
static EVERYWHERE: AtomicU32 = AtomicU32::new(0);

/// Whether a scope is a trial's word.
pub(super) const fn is_trial(scope: u32) -> bool {
    scope & TRIAL != 0
}

/// The place of the trial that a word belongs to.
pub(super) const fn place_of(word: u32) -> usize {
    (word & (TRIALS_MAX - 1)) as usize
}

/// The round in a word.
pub(super) const fn round_of(word: u32) -> u32 {
    (word & !TRIAL) >> PLACE_BITS
}

/// The word of a trial in a round.
pub(super) const fn word(place: usize, round: u32) -> u32 {
    let last = ROUNDS_MAX - 1;
    TRIAL | (if round < last { round } else { last }) << PLACE_BITS | place as u32
}

/// The word of the trial a block's scope belongs to, as it is now; `None` for other scopes, and when it has ended.
pub(super) fn running(scope: u32) -> Option<u32> {
    // Relaxed, here and below: a word is all there is to see.
    let word = if is_trial(scope) { RUNNING[place_of(scope)].load(Ordering::Relaxed) } else { 0 };
    (word != 0).then_some(word)
}

/// Says what the word at a place is now; 0 when the trial there has ended.
pub(super) fn set_running(place: usize, word: u32) {
    let before = RUNNING[place].swap(word, Ordering::Relaxed);
    match (before, word) {
        (0, 0) => {}
        (0, _) => drop(COUNT.fetch_add(1, Ordering::Relaxed)),
        (_, 0) => drop(COUNT.fetch_sub(1, Ordering::Relaxed)),
        _ => {}
    }
}

/// Whether the calling thread, which has just been seen for the first time, may have been started in a trial.
pub(super) fn may_have_begun_in_one() -> bool {
    COUNT.load(Ordering::Relaxed) != 0 && !old_threads::is_old()
}

/// The scope of threads that are in none.
pub(super) fn everywhere() -> u32 {
    EVERYWHERE.load(Ordering::Relaxed)
}

/// Makes threads that are in no scope belong to `word` instead of `before`; false when another trial has them.
pub(super) fn set_everywhere(before: u32, word: u32) -> bool {
    EVERYWHERE.compare_exchange(before, word, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Puts a new site on its trial's list: `link` notes which one comes after it.
pub(super) fn add_site(word: u32, site: u32, link: impl Fn(u32)) {
    let newest = &NEWEST_SITE[place_of(word)];
    let mut after = newest.load(Ordering::Relaxed);
    loop {
        link(after);
        // Release: whoever finds the site finds its link.
        match newest.compare_exchange_weak(after, site, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => after = other,
        }
    }
}

/// The newest site at a place; 0 is none.
pub(super) fn newest_site(place: usize) -> u32 {
    // Acquire: pairs with the release in `add_site`.
    NEWEST_SITE[place].load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_again() {
        for place in [0, 1, TRIALS_MAX as usize - 1] {
            for round in [0, 1, 77, ROUNDS_MAX - 1] {
                let word = word(place, round);
                assert!(is_trial(word) && place_of(word) == place && round_of(word) == round);
            }
        }
        assert_eq!(round_of(word(3, u32::MAX)), ROUNDS_MAX - 1);
        assert!(!is_trial(65_535));
    }
}
