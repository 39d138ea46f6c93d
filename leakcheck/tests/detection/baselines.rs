//! What must hold of any series that is judged against another run.

use crate::properties::{any_case, config};
use crate::world::series;
use leakcheck::analysis::{Baseline, JudgeOptions, Judgement, Standing, Suppression, Verdict, judge};
use leakcheck::model::Snapshot;
use proptest::prelude::*;

fn against(baseline: &[Snapshot], current: &[Snapshot]) -> Judgement {
    let baseline = Baseline::of(&[&series(baseline)], &JudgeOptions::default());
    judge(&series(current), &JudgeOptions { baseline: Some(baseline), ..JudgeOptions::default() })
}

/// The same program after lines were added above all others.
fn rebuilt(snapshots: &[Snapshot]) -> Vec<Snapshot> {
    let mut out = snapshots.to_vec();
    let functions = out.iter_mut().flat_map(|one| &mut one.frames).flat_map(|frame| &mut frame.functions);
    for line in functions.filter_map(|function| function.line.as_mut()) {
        *line += 7;
    }
    out
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn property_a_run_against_itself_holds_nothing_new(place in 0_usize..1000, seed in 0_u64..1000) {
        let snapshots = any_case(place, seed).simulate().snapshots;
        for current in [snapshots.clone(), rebuilt(&snapshots)] {
            let judgement = against(&snapshots, &current);
            prop_assert_ne!(judgement.verdict, Verdict::Leaking);
            for finding in &judgement.findings {
                prop_assert!(!matches!(finding.standing, Some(Standing::New | Standing::Faster)), "{finding:?}");
            }
        }
    }

    #[test]
    fn property_what_is_accepted_does_not_count(place in 0_usize..1000, seed in 0_u64..1000) {
        let snapshots = any_case(place, seed).simulate().snapshots;
        let before = judge(&series(&snapshots), &JudgeOptions::default());
        let open: Vec<_> = before.findings.iter().filter(|finding| finding.verdict != Verdict::Bounded).collect();
        let names = open.iter().filter_map(|finding| finding.stack.title());
        let suppressions = names.filter_map(|frame| Suppression::new(&format!("^{}$", frame.function.name))).collect();
        let after = judge(&series(&snapshots), &JudgeOptions { suppressions, ..JudgeOptions::default() });
        prop_assert_eq!(after.verdict, Verdict::Bounded);
        let accepted = after.findings.iter().filter(|finding| finding.accepted.is_some()).count();
        prop_assert_eq!(accepted, open.len());
        prop_assert_eq!(after.findings.len(), before.findings.len());
    }
}
