//! Rounds as the explorer reads them: those of this session, or of a file.
//!
//! Rounds are shared (`Arc`), so that panels may keep one without copying. The order is that of
//! time; an [`AnswerSpan`] says which rounds belong to which message.

mod sums;

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use coppice::spec::{
    CALIBRATION_BINS, CalibrationBin, Source, SpecStats, calibrate,
    trace::{Header, Kind, Prompt, Summary, Trace, TraceRound},
};
use serde::Serialize;

pub use sums::Sums;

use crate::{history::MessageId, problem::Problem};

/// Where rounds come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// This session.
    #[default]
    Live,
    /// A file.
    File(PathBuf),
    /// The demonstration that comes with the app.
    Demo,
}

/// The rounds of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerSpan {
    /// The message in the chat, for answers of this session.
    pub message: Option<MessageId>,
    /// Index of the first round.
    pub first: usize,
    /// Ids of the prompt.
    pub prompt: Prompt,
}

/// Rounds in order.
#[derive(Clone, Debug, Default)]
pub struct TraceLog {
    /// Where they come from.
    pub origin: Origin,
    /// What ran; absent before the first answer.
    pub header: Option<Header>,
    /// The rounds.
    pub rounds: Vec<Arc<TraceRound>>,
    /// Answers, in order.
    pub answers: Vec<AnswerSpan>,
    /// Figures of all rounds.
    pub stats: SpecStats,
    /// Predicted against observed, for each source that gives probabilities.
    pub calibration: BTreeMap<Source, [CalibrationBin; CALIBRATION_BINS]>,
    /// Rounds and milliseconds of verification by rows of the tree, the root included.
    pub verified: BTreeMap<usize, (u64, f64)>,
    /// Figures up to and with each round, so that any stretch of them costs one subtraction.
    sums: Vec<Sums>,
    /// What a reader of the file should know.
    pub notes: Vec<String>,
}

impl TraceLog {
    /// Reads a trace file.
    ///
    /// # Errors
    /// A file that is no trace, with the line that shows it.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        Ok(Self::from_trace(Trace::open(path)?, Origin::File(path.into())))
    }

    /// The rounds of a trace.
    pub fn from_trace(trace: Trace, origin: Origin) -> Self {
        let mut answers: Vec<AnswerSpan> = trace
            .prompts
            .iter()
            .map(|prompt| AnswerSpan { message: None, first: usize::MAX, prompt: prompt.clone() })
            .collect();
        for (n, round) in trace.rounds.iter().enumerate() {
            let span = answers.iter_mut().find(|span| span.prompt.answer == round.answer);
            if let Some(span) = span {
                span.first = span.first.min(n);
            }
        }
        answers.retain(|span| span.first != usize::MAX);
        let header = Some(trace.header);
        let mut log = Self { origin, header, answers, notes: trace.notes, ..Self::default() };
        trace.rounds.into_iter().for_each(|round| log.add(Arc::new(round)));
        log
    }

    /// An answer begins.
    pub fn begin(&mut self, message: MessageId, header: Header, prompt_ids: Vec<u32>) {
        let prompt = Prompt {
            answer: self.answers.len() as u64,
            tokens: prompt_ids.len() as u64,
            ids: Some(prompt_ids),
        };
        self.header = Some(header);
        self.answers.push(AnswerSpan { message: Some(message), first: self.rounds.len(), prompt });
    }

    /// A round of the answer begun last.
    pub fn push(&mut self, round: Arc<TraceRound>) {
        let answer = self.answers.len().saturating_sub(1) as u64;
        let mut round = round;
        if round.answer != answer {
            Arc::make_mut(&mut round).answer = answer;
        }
        self.add(round);
    }

    fn add(&mut self, round: Arc<TraceRound>) {
        let outcome = &round.outcome;
        self.stats.add(outcome);
        for node in &outcome.nodes[1..] {
            if node.draft_p.is_some() {
                calibrate(self.calibration.entry(node.source).or_default(), node);
            }
        }
        let verified = self.verified.entry(outcome.nodes.len()).or_default();
        verified.0 += 1;
        verified.1 += outcome.times.verify_ms;
        let before = self.sums.last().copied().unwrap_or_default();
        self.sums.push(before.with(outcome));
        self.rounds.push(round);
    }

    /// Figures of a stretch of rounds, at no cost of its length. Ends beyond the last round are cut.
    pub fn between(&self, rounds: Range<usize>) -> Sums {
        let up_to = |end: usize| end.min(self.sums.len()).checked_sub(1).map(|n| self.sums[n]);
        let before = up_to(rounds.start.min(rounds.end)).unwrap_or_default();
        up_to(rounds.end).unwrap_or_default().without(&before)
    }

    /// The round that runs so many milliseconds of rounds after the first began; none behind the
    /// last.
    pub fn round_at(&self, ms: f64) -> Option<usize> {
        let at = self.sums.partition_point(|sums| sums.times.total_ms() <= ms);
        (at < self.sums.len()).then_some(at)
    }

    /// Indices of the rounds of a message of this session.
    pub fn rounds_of(&self, message: MessageId) -> Option<Range<usize>> {
        let at = self.answers.iter().rposition(|span| span.message == Some(message))?;
        let end = self.answers.get(at + 1).map_or(self.rounds.len(), |next| next.first);
        Some(self.answers[at].first..end)
    }

    /// Number of the answer that a round belongs to, among [`TraceLog::answers`].
    pub fn answer_of(&self, round: usize) -> Option<usize> {
        self.answers.partition_point(|span| span.first <= round).checked_sub(1)
    }

    /// Writes all rounds as a trace that `coppice trace` and [`TraceLog::open`] read.
    ///
    /// # Errors
    /// A log without rounds, and what the disk says.
    pub fn save(&self, path: &Path) -> Result<(), Problem> {
        let Some(header) = &self.header else {
            return Err(Problem::new("there are no rounds to save yet", "ask something first"));
        };
        let write = || -> std::io::Result<()> {
            // A reader never sees half a file, and a full disk takes nothing from an old one.
            let partial = path.with_extension("jsonl.partial");
            let mut file = std::io::BufWriter::new(std::fs::File::create(&partial)?);
            line(&mut file, Kind::Header, header)?;
            for (n, span) in self.answers.iter().enumerate() {
                line(&mut file, Kind::Prompt, &span.prompt)?;
                let end = self.answers.get(n + 1).map_or(self.rounds.len(), |next| next.first);
                for round in &self.rounds[span.first..end] {
                    line(&mut file, Kind::Round, &**round)?;
                }
            }
            let generated = self.stats.tokens_a_round().n;
            let answers = self.answers.len() as u64;
            line(
                &mut file,
                Kind::Summary,
                &Summary { answers, generated, stats: self.stats.clone() },
            )?;
            file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
            std::fs::rename(&partial, path)
        };
        write().map_err(|error| {
            Problem::new(
                format!("cannot write {}: {error}", path.display()),
                "choose another folder; the rounds are still here",
            )
        })
    }
}

fn line(file: &mut impl std::io::Write, kind: Kind, body: &impl Serialize) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<T> {
        kind: Kind,
        #[serde(flatten)]
        body: T,
    }
    serde_json::to_writer(&mut *file, &Line { kind, body })?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_belong_to_their_message() {
        let mut log = TraceLog::default();
        let recorded = crate::demo::trace();
        let header = recorded.header.expect("traces have one");
        let (first, second) = (MessageId(1), MessageId(2));
        log.begin(first, header.clone(), vec![1]);
        recorded.rounds[..3].iter().for_each(|round| log.push(round.clone()));
        log.begin(second, header, vec![1, 2]);
        recorded.rounds[3..5].iter().for_each(|round| log.push(round.clone()));
        assert_eq!((log.rounds_of(first), log.rounds_of(second)), (Some(0..3), Some(3..5)));
        assert_eq!(log.rounds_of(MessageId(3)), None);
        assert_eq!((log.answer_of(2), log.answer_of(3)), (Some(0), Some(1)));
        assert_eq!((log.rounds[2].answer, log.rounds[3].answer), (0, 1));
        assert_eq!(log.stats.rounds, 5);
    }

    #[test]
    fn stretches_add_up_to_what_their_rounds_say() {
        let log = crate::demo::trace();
        let stretch = 3..11;
        let mut stats = SpecStats::default();
        log.rounds[stretch.clone()].iter().for_each(|round| stats.add(&round.outcome));
        let sums = log.between(stretch);
        assert_eq!((sums.rounds, sums.tokens), (stats.rounds, stats.tokens));
        assert_eq!((sums.drafted, sums.accepted), (stats.drafted, stats.accepted));
        assert_eq!(sums.path_rate(), stats.path_rate());
        assert!((sums.times.total_ms() - stats.times.total_ms()).abs() < 1e-6);
        let all = log.between(0..usize::MAX);
        assert_eq!((all.rounds, all.tokens), (log.stats.rounds, log.stats.tokens));
        assert_eq!(log.between(5..5), Sums::default());
        assert_eq!(log.round_at(0.0), Some(0));
        let third = log.between(0..3).times.total_ms();
        assert_eq!((log.round_at(third - 1e-6), log.round_at(third + 1e-6)), (Some(2), Some(3)));
        assert_eq!(log.round_at(f64::MAX), None);
    }

    #[test]
    fn calibration_by_source_adds_up_to_that_of_all() {
        let log = crate::demo::trace();
        assert!(log.calibration.len() > 1, "the demonstration has heads");
        for bin in 0..CALIBRATION_BINS {
            let each = log.calibration.values().map(|bins| bins[bin]);
            let counted: (u64, u64) =
                each.fold((0, 0), |(n, of), bin| (n + bin.passed, of + bin.count));
            let all = log.stats.calibration[bin];
            assert_eq!(counted, (all.passed, all.count), "bin {bin}");
        }
    }
}
