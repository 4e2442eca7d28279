//! Splits a text at special tokens, before any other rule sees it.
//!
//! The leftmost match wins, and of those the longest, as in Hugging Face's added tokens. Gemma
//! has six thousand special tokens, most beginning with `<`: a table by first byte says quickly
//! where none can begin, and the few lengths that occur are looked up in a hash index.

use super::{
    TokenKind,
    vocab::{Index, Spelling, Strings, Vocab, mark_space},
};

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'t> {
    /// Text for the tokenizer proper; never empty.
    Text(&'t str),
    /// A special token's id.
    Token(u32),
}

/// Which special tokens to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that count as text and always are one token.
    UserDefined,
    /// Control tokens as well.
    All,
}

#[derive(Debug)]
pub(super) struct SpecialIndex {
    texts: Strings,
    ids: Vec<u32>,
    always: Vec<bool>,
    index: Index,
    /// Lengths of the texts that begin with this byte, longest first.
    lengths: Vec<Vec<usize>>,
}

impl SpecialIndex {
    /// The special tokens that are looked for in text as it comes. SentencePiece looks for its
    /// user-defined tokens in marked text: see [`SpecialIndex::marked`].
    pub(super) fn raw(vocab: &Vocab) -> Self {
        Self::new(vocab, |id, kind| {
            let wanted = match kind {
                TokenKind::Control | TokenKind::Unknown => true,
                TokenKind::UserDefined => vocab.spelling == Spelling::ByteLevel,
                TokenKind::Normal | TokenKind::Unused | TokenKind::Byte => false,
            };
            vocab.text(id).filter(|_| wanted).map(str::to_owned)
        })
    }

    /// The user-defined tokens, as they look in text whose spaces are marked.
    pub(super) fn marked(vocab: &Vocab) -> Self {
        Self::new(vocab, |id, kind| {
            let text = vocab.text(id).filter(|_| kind == TokenKind::UserDefined)?;
            Some(text.chars().map(mark_space).collect())
        })
    }

    fn new(vocab: &Vocab, text_of: impl Fn(u32, TokenKind) -> Option<String>) -> Self {
        let mut texts = Strings::default();
        let (mut ids, mut always) = (Vec::new(), Vec::new());
        for (id, &kind) in (0..).zip(&vocab.kinds) {
            if let Some(text) = text_of(id, kind).filter(|text| !text.is_empty()) {
                texts.push(text.bytes());
                ids.push(id);
                always.push(kind == TokenKind::UserDefined);
            }
        }
        let index = Index::new(&texts, |_| true);
        let mut lengths = vec![Vec::new(); 256];
        for at in 0..texts.len() {
            let text = texts.get(at).expect("at < len");
            lengths[usize::from(text[0])].push(text.len());
        }
        for list in &mut lengths {
            list.sort_unstable_by(|a, b| b.cmp(a));
            list.dedup();
        }
        Self { texts, ids, always, index, lengths }
    }

    /// Cuts `text` into text and tokens, in order.
    pub(super) fn split<'t>(&self, text: &'t str, which: Which) -> Vec<Segment<'t>> {
        let mut segments = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            match self.token_at(&text.as_bytes()[at..], which) {
                Some((id, len)) => {
                    if start < at {
                        segments.push(Segment::Text(&text[start..at]));
                    }
                    segments.push(Segment::Token(id));
                    at += len;
                    start = at;
                }
                None => at += 1,
            }
        }
        if start < text.len() {
            segments.push(Segment::Text(&text[start..]));
        }
        segments
    }

    /// The longest token that `text` begins with. Token texts are UTF-8, so none begins inside a
    /// character and a match ends at a character border.
    fn token_at(&self, text: &[u8], which: Which) -> Option<(u32, usize)> {
        self.lengths[usize::from(*text.first()?)].iter().find_map(|&len| {
            let at = self.index.find(&self.texts, text.get(..len)?)? as usize;
            (which == Which::All || self.always[at]).then(|| (self.ids[at], len))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_of_the_leftmost_wins_and_control_tokens_can_stay_text() {
        let tokens = [
            ("<s>", TokenKind::Control),
            ("<s><s>", TokenKind::Control),
            ("\n\n", TokenKind::UserDefined),
            ("é!", TokenKind::Control),
            ("x", TokenKind::Normal),
        ];
        let index = SpecialIndex::raw(&Vocab::new(tokens.into_iter(), Spelling::ByteLevel));
        use Segment::{Text, Token};
        assert_eq!(
            index.split("a<s><s><s>b\n\n\nx", Which::All),
            [Text("a"), Token(1), Token(0), Text("b"), Token(2), Text("\nx")]
        );
        assert_eq!(
            index.split("é<s>\n\né!", Which::UserDefined),
            [Text("é<s>"), Token(2), Text("é!")]
        );
        assert_eq!(index.split("éé!", Which::All), [Text("é"), Token(3)]);
        assert_eq!(index.split("", Which::All), []);
    }

    #[test]
    fn user_defined_space_runs_match_marked_spaces() {
        let tokens = [
            ("▁▁", TokenKind::UserDefined),
            ("   ", TokenKind::UserDefined),
            ("<s>", TokenKind::Control),
        ];
        let vocab = Vocab::new(tokens.into_iter(), Spelling::SentencePiece);
        use Segment::{Text, Token};
        let marked = SpecialIndex::marked(&vocab);
        assert_eq!(marked.split("▁▁▁▁▁<s>", Which::UserDefined), [Token(1), Token(0), Text("<s>")]);
        assert_eq!(SpecialIndex::raw(&vocab).split("   <s>", Which::All), [Text("   "), Token(2)]);
    }
}
