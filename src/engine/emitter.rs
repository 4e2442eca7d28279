//! Ids in, certain text out.

use super::Event;
use crate::text::{Begin, DecodeStream, Specials, StopMatcher, StopStep, Tokenizer};

/// The text of an answer as it comes.
pub(super) struct Emitter<'a> {
    tokenizer: &'a Tokenizer,
    stream: DecodeStream,
    stops: StopMatcher,
    text: String,
}

impl<'a> Emitter<'a> {
    pub fn new(tokenizer: &'a Tokenizer, stop: &[String]) -> Self {
        Self {
            tokenizer,
            stream: DecodeStream::new(tokenizer, Begin::Continuation, Specials::Hide),
            stops: StopMatcher::new(stop.iter().cloned()),
            text: String::new(),
        }
    }

    /// True if a stop text is complete.
    pub fn push(&mut self, token: u32, on_event: &mut dyn FnMut(Event<'_>)) -> bool {
        let mut piece = String::new();
        self.stream.push(self.tokenizer, token, &mut piece);
        let (text, stopped) = match self.stops.push(&piece) {
            StopStep::Text(text) => (text, false),
            StopStep::Stopped { text, .. } => (text, true),
        };
        self.emit(&text, on_event);
        stopped
    }

    /// What was held back.
    pub fn finish(&mut self, on_event: &mut dyn FnMut(Event<'_>)) {
        let mut rest = String::new();
        self.stream.clone().finish(&mut rest);
        let mut text = match self.stops.push(&rest) {
            StopStep::Text(text) | StopStep::Stopped { text, .. } => text,
        };
        text.push_str(&self.stops.finish());
        self.emit(&text, on_event);
    }

    /// All text so far.
    pub fn into_text(self) -> String {
        self.text
    }

    fn emit(&mut self, text: &str, on_event: &mut dyn FnMut(Event<'_>)) {
        if !text.is_empty() {
            self.text.push_str(text);
            on_event(Event::Text(text));
        }
    }
}
