//! `coppice run --show-spec`: the answer with what became of its tokens.

use std::sync::Arc;

use crate::{
    spec::{RoundOutcome, Verdict, trace::token_text},
    text::{Begin, DecodeStream, Specials, StopMatcher, StopStep, Tokenizer},
};

/// How a piece of text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Not drafted: the first token, and rounds without candidates.
    Plain,
    Accepted,
    /// A candidate in the place where the target chose another token.
    Rejected,
    Bonus,
}

/// What tells the looks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// Colours of a terminal.
    Colours,
    /// Signs around the text, where colours are not wanted or cannot be seen.
    Signs,
}

impl Paint {
    /// What the looks mean, in words.
    pub(super) fn legend(self) -> &'static str {
        match self {
            Self::Colours => "accepted in green, rejected struck out in red, bonus in blue",
            Self::Signs => "{+accepted+} [-rejected-] {*bonus*}",
        }
    }

    fn wrap(self, look: Look, text: &str) -> String {
        let (before, after) = match (self, look) {
            (_, Look::Plain) => ("", ""),
            (Self::Colours, Look::Accepted) => ("\x1b[32m", "\x1b[0m"),
            (Self::Colours, Look::Rejected) => ("\x1b[31;9m", "\x1b[0m"),
            (Self::Colours, Look::Bonus) => ("\x1b[34m", "\x1b[0m"),
            (Self::Signs, Look::Accepted) => ("{+", "+}"),
            (Self::Signs, Look::Rejected) => ("[-", "-]"),
            (Self::Signs, Look::Bonus) => ("{*", "*}"),
        };
        if text.is_empty() { String::new() } else { format!("{before}{text}{after}") }
    }
}

/// Turns rounds into marked text. End tokens and stop texts end it as they end the answer.
pub(super) struct Marked {
    tokenizer: Arc<Tokenizer>,
    stream: DecodeStream,
    stops: StopMatcher,
    paint: Paint,
    ends: bool,
    begun: bool,
    over: bool,
}

impl Marked {
    /// Marks an answer that stops at these texts, and at end tokens unless they are ignored.
    pub(super) fn new(
        tokenizer: Arc<Tokenizer>,
        stop: &[String],
        ignore_eos: bool,
        paint: Paint,
    ) -> Self {
        let stream = DecodeStream::new(&tokenizer, Begin::Continuation, Specials::Hide);
        let stops = StopMatcher::new(stop.iter().cloned());
        Self { tokenizer, stream, stops, paint, ends: !ignore_eos, begun: false, over: false }
    }

    /// The text that a round adds.
    pub(super) fn round(&mut self, outcome: &RoundOutcome) -> String {
        let mut pieces: Vec<(Look, String)> = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.push(&mut pieces, Look::Plain, outcome.nodes[0].token);
        }
        for &node in &outcome.path[1..] {
            self.push(&mut pieces, Look::Accepted, outcome.nodes[node as usize].token);
        }
        if let Some(text) = self.rejected(outcome) {
            pieces.push((Look::Rejected, text));
        }
        let look = if outcome.drafted() == 0 { Look::Plain } else { Look::Bonus };
        self.push(&mut pieces, look, outcome.bonus);
        self.painted(pieces)
    }

    /// What was held back at the end of the answer.
    pub(super) fn finish(mut self) -> String {
        if self.over {
            return String::new();
        }
        let mut rest = String::new();
        self.stream.clone().finish(&mut rest);
        let mut text = match self.stops.push(&rest) {
            StopStep::Text(text) | StopStep::Stopped { text, .. } => text,
        };
        text.push_str(&self.stops.finish());
        text
    }

    /// True once a round was shown; an answer of a single token has none.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    fn push(&mut self, pieces: &mut Vec<(Look, String)>, look: Look, token: u32) {
        if self.over {
            return;
        }
        let mut piece = String::new();
        self.stream.push(&self.tokenizer, token, &mut piece);
        let (text, stopped) = match self.stops.push(&piece) {
            StopStep::Text(text) => (text, false),
            StopStep::Stopped { text, .. } => (text, true),
        };
        pieces.push((look, text));
        self.over = stopped || (self.ends && self.tokenizer.is_end_of_generation(token));
    }

    /// The likeliest candidate that was turned down behind the kept path, on one line.
    fn rejected(&self, outcome: &RoundOutcome) -> Option<String> {
        let last = outcome.path.last().copied();
        let turned_down =
            |verdict| matches!(verdict, Verdict::Rejected { .. } | Verdict::BelowThreshold);
        let mut nodes = outcome.nodes.iter();
        let node = nodes.find(|node| node.parent == last && turned_down(node.verdict))?;
        if self.over {
            return None;
        }
        let text = token_text(self.tokenizer.token_bytes(node.token).unwrap_or_default());
        Some(text.chars().flat_map(one_line).collect())
    }

    /// Pieces as text, neighbours of one look together.
    fn painted(&self, pieces: Vec<(Look, String)>) -> String {
        let mut out = String::new();
        let mut open: Option<(Look, String)> = None;
        for (look, text) in pieces {
            match &mut open {
                Some((same, all)) if *same == look => all.push_str(&text),
                _ => {
                    if let Some((look, text)) = open.replace((look, text)) {
                        out.push_str(&self.paint.wrap(look, &text));
                    }
                }
            }
        }
        if let Some((look, text)) = open {
            out.push_str(&self.paint.wrap(look, &text));
        }
        out
    }
}

/// A character of a token that is no part of the answer, so that it cannot move the cursor.
fn one_line(c: char) -> Vec<char> {
    if c == '\n' {
        vec!['↵']
    } else if c.is_control() {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::sample_rounds::*, text::VocabSource};

    /// Token `i` is the letter `i` of the alphabet.
    fn marked(stop: &[&str], eos: u32, paint: Paint) -> Marked {
        let letters: Vec<String> = ('A'..='Z').map(String::from).collect();
        let source = VocabSource {
            model: "gpt2",
            tokens: letters.iter().map(String::as_str).collect(),
            eos: Some(eos),
            ..VocabSource::default()
        };
        let tokenizer = Arc::new(Tokenizer::from_source(&source).expect("consistent"));
        let stop: Vec<String> = stop.iter().map(|&text| text.to_owned()).collect();
        Marked::new(tokenizer, &stop, false, paint)
    }

    fn shown(mut marked: Marked) -> String {
        let rounds = [branching(0), plain(1), chain(2), typical(3)];
        let mut text: String = rounds.iter().map(|round| marked.round(round)).collect();
        text.push_str(&marked.finish());
        text
    }

    #[test]
    fn tokens_are_marked_by_what_became_of_them() {
        let text = shown(marked(&[], 0, Paint::Signs));
        assert_eq!(text, "K{+LO+}[-P-]{*Q*}R{+STU+}{*V*}{+W+}{*Z*}");
        let colours = shown(marked(&[], 0, Paint::Colours));
        assert!(colours.starts_with("K\x1b[32mLO\x1b[0m\x1b[31;9mP\x1b[0m\x1b[34mQ\x1b[0mR"));
    }

    #[test]
    fn stops_and_ends_cut_as_they_cut_the_answer() {
        assert_eq!(shown(marked(&["TU"], 0, Paint::Signs)), "K{+LO+}[-P-]{*Q*}R{+S+}");
        // What might begin a stop text is shown once it does not, with the token that decided it.
        assert_eq!(
            shown(marked(&["TUX"], 0, Paint::Signs)),
            "K{+LO+}[-P-]{*Q*}R{+S+}{*TUV*}{+W+}{*Z*}"
        );
        assert_eq!(shown(marked(&[], 14, Paint::Signs)), "K{+LO+}");
        assert_eq!(shown(marked(&[], 16, Paint::Signs)), "K{+LO+}[-P-]{*Q*}");
    }
}
