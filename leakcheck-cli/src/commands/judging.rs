//! What the options say about judging, read once and applied to each series.

use super::tell;
use crate::cli::JudgeArgs;
use crate::error::Error;
use crate::input::{AcceptedLeak, load_accepted_leaks, load_series};
use crate::render::{Judged, JudgedAll, program_name};
use leakcheck::analysis::{Baseline, JudgeOptions, Judgement, Verdict, judge, peers, restarts, self_test};
use leakcheck::model::Series;
use std::collections::HashMap;

/// How to judge.
pub(crate) struct Judging {
    options: JudgeOptions,
    accepted: Vec<AcceptedLeak>,
    baseline: Vec<Series>,
    /// The baseline as the user named it.
    baseline_named: String,
    self_test: bool,
}

impl Judging {
    /// Reads what the options name: before the long work, so that a wrong name does not cost it.
    pub(crate) fn prepare(args: &JudgeArgs) -> Result<Self, Error> {
        let mut accepted = Vec::new();
        for path in &args.accept {
            accepted.extend(load_accepted_leaks(path)?);
        }
        let mut baseline = Vec::new();
        if !args.baseline.is_empty() {
            let loaded = load_series(&args.baseline)?;
            tell(&loaded.notes);
            baseline = loaded.series;
        }
        let options = JudgeOptions {
            min_rate_bytes_per_second: args.min_rate,
            warm_up_ms: args.warm_up,
            limit_bytes: args.limit,
            suppressions: accepted.iter().map(|leak| leak.suppression.clone()).collect(),
            ..JudgeOptions::default()
        };
        Ok(Self { options, accepted, baseline, baseline_named: super::quoted(&args.baseline), self_test: false })
    }

    /// The same with a leak planted into each series.
    pub(crate) fn with_self_test(self, wanted: bool) -> Self {
        Self { self_test: wanted, ..self }
    }

    /// Without any options.
    pub(crate) fn plain() -> Self {
        let options = JudgeOptions::default();
        Self { options, accepted: Vec::new(), baseline: Vec::new(), baseline_named: String::new(), self_test: false }
    }

    /// Judges each series, and all together.
    pub(crate) fn judge(&self, series: Vec<Series>) -> Result<JudgedAll, Error> {
        self.refuse_another_program(&series)?;
        let restarts = restarts(&series.iter().collect::<Vec<_>>());
        let mut by_program: HashMap<String, JudgeOptions> = HashMap::new();
        let mut processes: Vec<Judged> = Vec::new();
        for series in series {
            let name = program_name(&series.process).to_owned();
            let options = by_program.entry(name).or_insert_with_key(|name| self.options_for(name));
            let judgement = judge(&series, options);
            // Sites planted where no sites are recorded prove nothing.
            let recorded = series.recording.source.is_recorder();
            let self_test = (self.self_test && recorded).then(|| self_test(&series, options));
            processes.push(Judged { judgement, series, self_test });
        }
        let verdicts: Vec<Verdict> = processes.iter().map(|judged| judged.judgement.verdict).collect();
        let (all, judgements): (Vec<&Series>, Vec<&Judgement>) =
            processes.iter().map(|judged| (&judged.series, &judged.judgement)).unzip();
        let peers = peers(&all, &judgements);
        Ok(JudgedAll { peers, restarts: restarts.filter(|found| found.stands_beside(&verdicts)), processes })
    }

    /// The options for one program, with its part of the baseline.
    fn options_for(&self, program: &str) -> JudgeOptions {
        let same: Vec<&Series> = self.baseline.iter().filter(|one| program_name(&one.process) == program).collect();
        if same.is_empty() && !self.baseline.is_empty() {
            tell(&[format!("{program} is not in the baseline {}, and judged without it", self.baseline_named)]);
        }
        let baseline = (!same.is_empty()).then(|| Baseline::of(&same, &self.options));
        JudgeOptions { baseline, ..self.options.clone() }
    }

    /// A baseline of which no program is judged is a mistake.
    fn refuse_another_program(&self, series: &[Series]) -> Result<(), Error> {
        let names = |series: &[Series]| {
            let mut names: Vec<String> = series.iter().map(|one| program_name(&one.process).to_owned()).collect();
            names.sort();
            names.dedup();
            names
        };
        let (known, judged) = (names(&self.baseline), names(series));
        if known.is_empty() || judged.is_empty() || judged.iter().any(|name| known.contains(name)) {
            return Ok(());
        }
        Err(Error::new(format!(
            "judge {judged} against the baseline {}: it is a recording of {}; name one of {judged}, or leave --baseline out",
            self.baseline_named,
            known.join(", "),
            judged = judged.join(", "),
        )))
    }

    /// A pattern that accepts nothing is one that is misspelt, or not needed any more.
    pub(crate) fn tell_of_idle_suppressions(&self, processes: &[Judged]) {
        if processes.iter().all(|judged| judged.judgement.sites_judged == 0) {
            return;
        }
        let findings = || processes.iter().flat_map(|judged| &judged.judgement.findings);
        for AcceptedLeak { suppression, place } in &self.accepted {
            let pattern = suppression.to_string();
            let mut figures = processes.iter().flat_map(|judged| &judged.judgement.resources);
            let accepts_a_figure = figures.any(|one| one.accepted.as_ref() == Some(&pattern));
            if !accepts_a_figure && !findings().any(|finding| finding.accepted.as_ref() == Some(&pattern)) {
                tell(&[format!("{pattern} ({place}) accepts nothing here; remove it if that leak is mended")]);
            }
        }
    }
}
