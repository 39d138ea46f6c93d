//! Kinds that no rule was tuned on: other mechanisms than those of the development set, by the same means.

mod bounds;
mod leaks;

use super::{Kind, Set, kinds};

pub const LEAKING: &[Kind] = kinds!(HeldOut, true:
    leaks::heaps_law, leaks::immortal_entries, leaks::many_vectors_double, leaks::bulk_load_then_leak,
    leaks::thread_stacks, leaks::segments_forgotten, leaks::under_arena, leaks::under_epochs,
    leaks::under_swapped_caches, leaks::under_seasonal_sessions, leaks::under_walk, leaks::late_and_slow,
    leaks::day_and_night, leaks::weak_keeps_the_head, leaks::vector_and_entries, leaks::tree_nodes,
    leaks::one_in_ten_stays, leaks::stuck_tasks, leaks::reload_keeps_some, leaks::doubles_after_plateau,
    leaks::below_large_churn, leaks::under_compaction, leaks::in_two_phases, leaks::under_tall_batches,
);

pub const CLEAN: &[Kind] = kinds!(HeldOut, false:
    bounds::second_chance, bounds::timers_long, bounds::retries, bounds::rolling_window, bounds::compaction,
    bounds::promotion, bounds::three_starts, bounds::batch_heights, bounds::weekly, bounds::large_strings,
    bounds::double_buffer, bounds::many_high_waters, bounds::slab_of_a_walk, bounds::thread_locals,
    bounds::set_cleared, bounds::tombstones, bounds::zipf_vocabulary, bounds::undo_history, bounds::config_reload,
    bounds::prefetch, bounds::plugins, bounds::pool_reaped, bounds::crowd, bounds::storm,
);
