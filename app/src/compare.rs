//! Two ways to draft for the same prompt and seed, measured one after the other on the device in
//! use, and laid on one axis of wall-clock time. The axis begins when the prompt is computed: the
//! second run finds the prompt in the cache, so that its own time says nothing.

use coppice::{engine::Timings, spec::SpecStats};

use crate::{
    problem::Problem,
    worker::{Drafting, LaneNews},
};

/// Something that was reached at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mark {
    /// Milliseconds since the prompt was computed.
    pub ms: f64,
    /// Tokens so far.
    pub tokens: u64,
    /// Bytes of the text so far.
    pub text: usize,
}

/// One of the two runs.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Who drafted.
    pub drafting: Drafting,
    /// A mark for each round.
    pub marks: Vec<Mark>,
    /// What it said.
    pub text: String,
    /// Figures of its rounds.
    pub stats: SpecStats,
    /// The engine's own figures, when it is over.
    pub timings: Option<Timings>,
}

impl Lane {
    /// What it had reached at a time.
    pub fn at(&self, ms: f64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.ms <= ms);
        after.checked_sub(1).map_or_else(Mark::default, |n| self.marks[n])
    }

    /// The text that it had said at a time.
    pub fn text_at(&self, ms: f64) -> &str {
        match self.marks.last() {
            // What follows the last round belongs to it.
            Some(last) if ms >= last.ms => &self.text,
            _ => self.text.get(..self.at(ms).text).unwrap_or(&self.text),
        }
    }

    /// Milliseconds of its last mark.
    pub fn end_ms(&self) -> f64 {
        self.marks.last().map_or(0.0, |mark| mark.ms)
    }

    /// Tokens a second of wall-clock time over its rounds.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let last = self.marks.last()?;
        (last.ms > 0.0).then(|| last.tokens as f64 * 1e3 / last.ms)
    }

    fn take(&mut self, news: LaneNews) {
        match news {
            LaneNews::Text(text) => self.text.push_str(&text),
            LaneNews::Round { ms, round } => {
                self.stats.add(&round.outcome);
                let tokens = self.stats.tokens;
                self.marks.push(Mark { ms, tokens, text: self.text.len() });
            }
            LaneNews::Done(timings) => self.timings = Some(*timings),
        }
    }
}

/// The two runs.
#[derive(Clone, Debug)]
pub struct Compare {
    /// What is asked.
    pub prompt: String,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Who drafts.
    pub drafting: [Drafting; 2],
    /// What was measured.
    pub lanes: [Lane; 2],
    /// The run that goes on.
    pub running: Option<usize>,
    /// Why there is no result.
    pub problem: Option<Problem>,
    /// Time on screen, as a share of the longer run.
    pub at: f64,
}

impl Default for Compare {
    fn default() -> Self {
        let plain = Drafting { method: coppice::spec::Method::Plain, ..Drafting::default() };
        Self {
            prompt: "Write a short story about a coppice wood.".into(),
            max_tokens: 96,
            drafting: [plain, Drafting::default()],
            lanes: Default::default(),
            running: None,
            problem: None,
            at: 1.0,
        }
    }
}

impl Compare {
    /// Forgets what was measured and waits for the first run.
    pub fn begin(&mut self) {
        self.lanes = self.drafting.clone().map(|drafting| Lane { drafting, ..Lane::default() });
        self.running = Some(0);
        self.problem = None;
        self.at = 1.0;
    }

    /// Takes news of a run.
    pub fn take(&mut self, lane: usize, news: LaneNews) {
        if let Some(there) = self.lanes.get_mut(lane) {
            self.running = Some(lane);
            there.take(news);
        }
    }

    /// Both runs are over.
    pub fn end(&mut self, done: Result<(), Problem>) {
        self.running = None;
        self.problem = done.err();
    }

    /// How the two compare, in words; nothing before both are over.
    pub fn verdict(&self) -> Option<String> {
        let [a, b] = &self.lanes;
        if a.timings.is_none() || b.timings.is_none() {
            return None;
        }
        let (fast_a, fast_b) = (a.tokens_per_second()?, b.tokens_per_second()?);
        let (first, second, by) = match fast_b >= fast_a {
            true => ("B", "A", fast_b / fast_a),
            false => ("A", "B", fast_a / fast_b),
        };
        let speed = format!("{first} is {by:.2} times as fast as {second}");
        let same = match (a.text == b.text, common(&a.text, &b.text)) {
            (true, _) => "both say the same".to_owned(),
            // Runs stop at rounds' ends: one may have said a little more than the other.
            (false, n) if n == a.text.len().min(b.text.len()) => {
                "one text is the beginning of the other".to_owned()
            }
            (false, n) => format!(
                "their texts differ from {:?} on",
                a.text[n..].chars().take(12).collect::<String>()
            ),
        };
        Some(format!("{speed}; {same}"))
    }
}

/// Bytes that two texts begin with in common, whole characters.
fn common(a: &str, b: &str) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A comparison whose runs take so many milliseconds a round.
    fn measured(ms: [f64; 2], texts: [&str; 2]) -> Compare {
        let rounds = crate::demo::trace().rounds;
        let mut compare = Compare::default();
        compare.begin();
        for lane in 0..2 {
            for (n, word) in texts[lane].split_inclusive(' ').enumerate() {
                let round = Arc::clone(&rounds[0]);
                compare.take(lane, LaneNews::Round { ms: ms[lane] * (n + 1) as f64, round });
                compare.take(lane, LaneNews::Text(word.into()));
            }
            compare.take(lane, LaneNews::Done(Box::default()));
        }
        compare.end(Ok(()));
        compare
    }

    #[test]
    fn the_faster_run_is_named_and_texts_are_compared() {
        let verdict = |ms, texts| measured(ms, texts).verdict().expect("both are over");
        assert_eq!(
            verdict([10.0, 5.0], ["a b c", "a b c"]),
            "B is 2.00 times as fast as A; both say the same"
        );
        assert!(verdict([5.0, 10.0], ["a b c", "a b c"]).starts_with("A is 2.00 times"));
        assert!(verdict([1.0, 1.0], ["a bö c", "a bö d"]).ends_with("differ from \"c\" on"));
        assert!(verdict([1.0, 1.0], ["a b", "a b c"]).ends_with("beginning of the other"));
        let mut half = measured([1.0, 1.0], ["a", "a"]);
        half.lanes[1].timings = None;
        assert_eq!(half.verdict(), None);
    }

    #[test]
    fn a_time_shows_what_was_said_by_then() {
        let compare = measured([10.0, 10.0], ["one two three", "x"]);
        let lane = &compare.lanes[0];
        assert_eq!(
            (lane.text_at(9.9), lane.text_at(20.0), lane.text_at(30.0)),
            ("", "one ", "one two three")
        );
        assert_eq!((lane.at(5.0).tokens, lane.end_ms()), (0, 30.0));
        let tokens = lane.stats.tokens as f64;
        assert_eq!(lane.tokens_per_second(), Some(tokens * 1e3 / 30.0));
        assert_eq!(Lane::default().tokens_per_second(), None);
    }
}
