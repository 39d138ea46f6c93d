//! Many call sites that take turns, in frames that lie in the same places: what a cache of whole stacks must tell apart.

use crate::checking::{DEPTH, Found, check_here, with_checker};
use crate::unwind_support::Random;
use std::hint::black_box;

type Site = fn(&mut Plan) -> u64;

/// Which sites to go through, outermost first.
struct Plan {
    path: Vec<usize>,
    at: usize,
}

impl Plan {
    #[inline(never)]
    fn descend(&mut self) -> u64 {
        match self.path.get(self.at) {
            None => {
                check_here();
                1
            }
            Some(&site) => {
                self.at += 1;
                let sum = SITES[site](self);
                self.at -= 1;
                black_box(sum)
            }
        }
    }
}

/// All sites have frames of one size; only the return address into them tells them apart.
#[inline(never)]
fn site<const NUMBER: u64>(plan: &mut Plan) -> u64 {
    let sum = plan.descend();
    black_box(sum ^ NUMBER)
}

/// Two calls from one function: the same caller, another place in it.
#[inline(never)]
fn site_of_two<const NUMBER: u64>(plan: &mut Plan) -> u64 {
    if plan.path.len().is_multiple_of(2) {
        let sum = plan.descend();
        black_box(sum + NUMBER)
    } else {
        let sum = plan.descend();
        black_box(sum ^ NUMBER)
    }
}

macro_rules! sites {
    ($($number:literal)*) => { [$(site::<$number>, site::<{ $number + 100 }>, site_of_two::<$number>, site::<{ $number + 200 }>),*] };
}

const SITES: [Site; 64] = sites!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

#[inline(never)]
fn go(path: Vec<usize>) {
    let mut plan = Plan { path, at: 0 };
    black_box(plan.descend());
}

/// Each site at each depth, one after the other.
pub(crate) fn in_turn(effort: u32) -> Found {
    with_checker(DEPTH, || {
        for round in 0..effort as usize {
            for depth in 1..5 {
                for first in 0..SITES.len() {
                    go((0..depth).map(|place| (first + place * round) % SITES.len()).collect());
                }
            }
        }
    })
}

/// The shape stays, single frames of it change at random.
pub(crate) fn at_random(effort: u32) -> Found {
    with_checker(DEPTH, || {
        let mut random = Random::new(17);
        let mut path: Vec<usize> = (0..20).collect();
        for _ in 0..600 * effort {
            let place = random.below(path.len() as u64) as usize;
            path[place] = random.below(SITES.len() as u64) as usize;
            if random.below(8) == 0 {
                path.truncate(1 + random.below(20) as usize);
            } else if path.len() < 20 {
                path.push(random.below(SITES.len() as u64) as usize);
            }
            go(path.clone());
        }
    })
}

/// The same stack pointer and the same innermost return address every time: only words further out differ.
pub(crate) fn one_slot(effort: u32) -> Found {
    with_checker(DEPTH, || {
        for round in 0..8 * effort as usize {
            for outer in 0..SITES.len() {
                // The innermost two are the same; in between lies a word that differs in every eighth round only.
                go(vec![outer, round / 8 % SITES.len(), 5, 5, 5, 7, 7]);
                go(vec![outer, 9, 9, 5, 5, 7, 7]);
            }
        }
    })
}
