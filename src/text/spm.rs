//! SentencePiece BPE with scores: the tokenizer of Llama 1 and 2, Mistral 7B and Gemma.
//!
//! Adjacent pieces whose concatenation is a token merge, best score first, then leftmost. Words
//! are not cut beforehand, so merges cross spaces where the vocabulary has such tokens. What no
//! token expresses becomes byte tokens, or the unknown token where there are none. Own code: the
//! `tokenizers` crate ranks merges by a list, which GGUF does not have for these models.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::{
    TextError, TokenKind,
    special::{Segment, SpecialIndex, Which},
    vocab::{Index, SPACE_MARK, Vocab, byte_token_value, mark_space},
};

#[derive(Debug)]
pub(super) struct Spm {
    /// Of what text may become: neither control nor byte tokens.
    index: Index,
    user_defined: SpecialIndex,
    scores: Vec<f32>,
    byte_tokens: [Option<u32>; 256],
    unk: Option<u32>,
    /// Whether a space is put before text at the start and after special tokens.
    pub(super) space_prefix: bool,
}

impl Spm {
    /// # Errors
    /// Another number of scores than of tokens; a vocabulary that cannot express every text.
    pub(super) fn new(
        vocab: &Vocab,
        scores: Vec<f32>,
        unk: Option<u32>,
        space_prefix: bool,
    ) -> Result<Self, TextError> {
        if scores.len() != vocab.len() {
            let message = format!("{} scores for {} tokens", scores.len(), vocab.len());
            return Err(TextError::vocabulary("tokenizer.ggml.scores", message));
        }
        let index = Index::new(&vocab.text, |id| {
            matches!(
                vocab.kinds[id],
                TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused
            )
        });
        let mut byte_tokens = [None; 256];
        for (id, _) in vocab.kinds.iter().enumerate().filter(|&(_, &kind)| kind == TokenKind::Byte)
        {
            let text = vocab.text(id as u32).expect("kinds and texts have the same length");
            let Some(byte) = byte_token_value(text) else {
                let message =
                    format!("token {id} ({text:?}) is marked as a byte, but is not spelled <0xNN>");
                return Err(TextError::vocabulary("tokenizer.ggml.token_type", message));
            };
            byte_tokens[usize::from(byte)].get_or_insert(id as u32);
        }
        if unk.is_none() && byte_tokens.contains(&None) {
            let message = "there are neither tokens for all bytes nor an unknown token";
            return Err(TextError::vocabulary("tokenizer.ggml.unknown_token_id", message));
        }
        Ok(Self {
            index,
            user_defined: SpecialIndex::marked(vocab),
            scores,
            byte_tokens,
            unk,
            space_prefix,
        })
    }

    /// Appends the ids of `text`, which contains no control tokens and begins the input or follows
    /// a control token if `fresh`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, fresh: bool, out: &mut Vec<u32>) {
        let mut marked = String::with_capacity(text.len() + text.len() / 4 + SPACE_MARK.len_utf8());
        if fresh && self.space_prefix {
            marked.push(SPACE_MARK);
        }
        marked.extend(text.chars().map(mark_space));
        for segment in self.user_defined.split(&marked, Which::UserDefined) {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(text) => Merger::new(self, vocab, text).run(out),
            }
        }
    }

    fn push_bytes(&self, piece: &str, out: &mut Vec<u32>) {
        let tokens = piece.bytes().map(|byte| self.byte_tokens[usize::from(byte)]);
        if tokens.clone().all(|token| token.is_some()) {
            out.extend(tokens.flatten());
        } else {
            out.extend(self.unk);
        }
    }
}

/// No neighbour.
const NONE: usize = usize::MAX;

/// A piece of the text; empty once merged into its left neighbour.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    prev: usize,
    next: usize,
    id: Option<u32>,
}

/// Two neighbours that make a token. Stale once they no longer span `start..end`.
struct Candidate {
    score: f32,
    left: usize,
    end: usize,
    id: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

struct Merger<'a> {
    spm: &'a Spm,
    vocab: &'a Vocab,
    text: &'a str,
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Candidate>,
}

impl<'a> Merger<'a> {
    fn new(spm: &'a Spm, vocab: &'a Vocab, text: &'a str) -> Self {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(at, (start, c))| {
                let end = start + c.len_utf8();
                let id = spm.index.find(&vocab.text, &text.as_bytes()[start..end]);
                Symbol { start, end, prev: at.wrapping_sub(1), next: at + 1, id }
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        Self { spm, vocab, text, symbols, heap: BinaryHeap::new() }
    }

    fn run(mut self, out: &mut Vec<u32>) {
        for left in 0..self.symbols.len() {
            self.propose(left);
        }
        while let Some(Candidate { left, end, id, .. }) = self.heap.pop() {
            let Symbol { start, end: middle, next: right, prev, .. } = self.symbols[left];
            if start == middle || right == NONE || self.symbols[right].end != end {
                continue;
            }
            let next = self.symbols[right].next;
            self.symbols[left] = Symbol { start, end, prev, next, id: Some(id) };
            self.symbols[right].end = self.symbols[right].start;
            if next != NONE {
                self.symbols[next].prev = left;
            }
            self.propose(left);
            if prev != NONE {
                self.propose(prev);
            }
        }
        for symbol in self.symbols.iter().filter(|symbol| symbol.start < symbol.end) {
            match symbol.id {
                Some(id) => out.push(id),
                None => self.spm.push_bytes(&self.text[symbol.start..symbol.end], out),
            }
        }
    }

    fn propose(&mut self, left: usize) {
        let right = self.symbols[left].next;
        if right == NONE {
            return;
        }
        let end = self.symbols[right].end;
        let joined = &self.text.as_bytes()[self.symbols[left].start..end];
        if let Some(id) = self.spm.index.find(&self.vocab.text, joined) {
            self.heap.push(Candidate { score: self.spm.scores[id as usize], left, end, id });
        }
    }
}
