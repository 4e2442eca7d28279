//! Rounds as the explorer reads them: those of this session, or of a file.
//!
//! Rounds are shared (`Arc`), so that panels may keep one without copying. The order is that of
//! time; an [`AnswerSpan`] says which rounds belong to which message.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use coppice::spec::{
    SpecStats,
    trace::{Header, Kind, Prompt, Summary, Trace, TraceRound},
};
use serde::Serialize;

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
        let stats = trace.stats();
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
        Self {
            origin,
            header: Some(trace.header),
            rounds: trace.rounds.into_iter().map(Arc::new).collect(),
            answers,
            stats,
            notes: trace.notes,
        }
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
        self.stats.add(&round.outcome);
        self.rounds.push(round);
    }

    /// Indices of the rounds of a message of this session.
    pub fn rounds_of(&self, message: MessageId) -> Option<std::ops::Range<usize>> {
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
}
