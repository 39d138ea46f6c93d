//! What the options say about judging, read once and applied to each series.

use super::tell;
use crate::cli::JudgeArgs;
use crate::error::Error;
use crate::input::{AcceptedLeak, load_accepted_leaks, load_series};
use crate::render::{Judged, JudgedAll, program_name};
use leakcheck::analysis::{Baseline, JudgeOptions, Judgement, Verdict, judge, peers, restarts, self_test};
use leakcheck::model::{Mode, Series};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How to judge.
pub(crate) struct Judging {
    options: JudgeOptions,
    accepted: Vec<AcceptedLeak>,
    baseline: Vec<Series>,
    /// The baseline as the user named it.
    baseline_named: String,
    self_test: bool,
    /// The options for each program met so far.
    by_program: RefCell<HashMap<String, Rc<JudgeOptions>>>,
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
        let baseline_named = super::quoted(&args.baseline);
        Ok(Self { options, accepted, baseline, baseline_named, ..Self::plain() })
    }

    /// The same with a leak planted into each series.
    pub(crate) fn with_self_test(self, wanted: bool) -> Self {
        Self { self_test: wanted, ..self }
    }

    /// Without any options.
    pub(crate) fn plain() -> Self {
        Self {
            options: JudgeOptions::default(),
            accepted: Vec::new(),
            baseline: Vec::new(),
            baseline_named: String::new(),
            self_test: false,
            by_program: RefCell::default(),
        }
    }

    /// Judges each series, and all together.
    pub(crate) fn judge(&self, series: Vec<Series>) -> Result<JudgedAll, Error> {
        self.refuse_another_program(&series)?;
        Ok(self.together(series.into_iter().map(|series| self.judge_one(series)).collect()))
    }

    /// Judges one series.
    pub(crate) fn judge_one(&self, series: Series) -> Judged {
        let options = self.options_for(program_name(&series.process));
        let judgement = judge(&series, &options);
        // Sites planted where no sites are recorded prove nothing.
        let recorded = series.recording.source.is_recorder();
        let self_test = (self.self_test && recorded).then(|| self_test(&series, &options));
        Judged { judgement, series, self_test }
    }

    /// Looks which leaks a series would have shown, where it shows none and blocks are sampled: few of them prove little.
    pub(crate) fn doubt_samples(&self, judged: &mut Judged) {
        let sampled = matches!(judged.series.recording.mode, Mode::Sampled { .. });
        if sampled && judged.judgement.verdict == Verdict::Bounded {
            judged.self_test = Some(self_test(&judged.series, &self.options_for(program_name(&judged.series.process))));
            let finer = "samples show large leaks only; `--mode exact`, or a longer watch, shows smaller ones";
            judged.judgement.notes.insert(0, finer.to_owned());
        }
    }

    /// Judges a series that has grown since.
    pub(crate) fn judge_again(&self, judged: &mut Judged) {
        judged.judgement = judge(&judged.series, &self.options_for(program_name(&judged.series.process)));
    }

    /// What the series show together.
    pub(crate) fn together(&self, processes: Vec<Judged>) -> JudgedAll {
        let restarts = restarts(&processes.iter().map(|judged| &judged.series).collect::<Vec<_>>());
        let verdicts: Vec<Verdict> = processes.iter().map(|judged| judged.judgement.verdict).collect();
        let (all, judgements): (Vec<&Series>, Vec<&Judgement>) =
            processes.iter().map(|judged| (&judged.series, &judged.judgement)).unzip();
        let peers = peers(&all, &judgements);
        JudgedAll { peers, restarts: restarts.filter(|found| found.stands_beside(&verdicts)), processes }
    }

    /// The options for one program, with its part of the baseline.
    fn options_for(&self, program: &str) -> Rc<JudgeOptions> {
        if let Some(known) = self.by_program.borrow().get(program) {
            return Rc::clone(known);
        }
        let options = Rc::new(self.new_options_for(program));
        self.by_program.borrow_mut().insert(program.to_owned(), Rc::clone(&options));
        options
    }

    fn new_options_for(&self, program: &str) -> JudgeOptions {
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
