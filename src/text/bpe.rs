//! Byte-level byte-pair encoding, as GPT-2 and its many descendants do it.
//!
//! Own code rather than the `tokenizers` crate's: from GGUF metadata that crate wants a
//! `HashMap<String, u32>` and a vector of string pairs, which it turns into its tables; this one
//! resolves merges to id pairs in one pass over the borrowed strings and is ready some ten times
//! sooner, and start-up counts. The result is the same: of the adjacent pairs that may merge,
//! the one with the lowest rank merges first, and of equal ranks the leftmost.

use std::{cmp::Reverse, collections::BinaryHeap, collections::HashMap};

use super::{
    TextError,
    pre::PreTokenizer,
    vocab::{Index, Vocab, char_of_byte},
};

#[derive(Clone, Copy, Debug)]
struct Merge {
    rank: u32,
    id: u32,
}

#[derive(Debug)]
pub(super) struct Bpe {
    pre: PreTokenizer,
    /// The token of each byte. Some vocabularies lack bytes that cannot occur in UTF-8, and some
    /// (SmolLM2) even control characters; such bytes are left out of the encoding.
    byte_tokens: [Option<u32>; 256],
    merges: HashMap<(u32, u32), Merge>,
    /// For vocabularies whose tokens win over merges: whole words.
    words: Option<Index>,
}

const MERGES: &str = "tokenizer.ggml.merges";

impl Bpe {
    /// # Errors
    /// A merge that is not two tokens, or names one that the vocabulary lacks.
    pub(super) fn new(
        vocab: &Vocab,
        merges: &[&str],
        pre: PreTokenizer,
    ) -> Result<Self, TextError> {
        let index = Index::new(&vocab.text, |_| true);
        let find = |text: &str| index.find(&vocab.text, text.as_bytes());
        let mut table = HashMap::with_capacity(merges.len());
        let mut joined = String::new();
        for (rank, merge) in merges.iter().enumerate() {
            // The first character may be a space in vocabularies with unusual alphabets.
            let split = merge.char_indices().skip(1).find(|&(_, c)| c == ' ');
            let Some((left, right)) = split.map(|(at, _)| (&merge[..at], &merge[at + 1..])) else {
                return Err(TextError::vocabulary(
                    MERGES,
                    format!("entry {rank} is {merge:?}, not two tokens"),
                ));
            };
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let token = |text: &str| {
                find(text).ok_or_else(|| {
                    let message = format!(
                        "entry {rank} ({merge:?}) needs the token {text:?}, which is missing"
                    );
                    TextError::vocabulary(MERGES, message)
                })
            };
            let merge = Merge { rank: rank as u32, id: token(&joined)? };
            table.entry((token(left)?, token(right)?)).or_insert(merge);
        }
        let mut utf8 = [0; 4];
        let byte_tokens = char_of_byte().map(|c| find(c.encode_utf8(&mut utf8)));
        if byte_tokens.iter().all(Option::is_none) {
            let message = "no token is a single byte, so this is no byte-level vocabulary";
            return Err(TextError::vocabulary("tokenizer.ggml.tokens", message));
        }
        let words = pre.whole_words_first.then_some(index);
        Ok(Self { pre, byte_tokens, merges: table, words })
    }

    /// Appends the ids of `text`, which contains no special tokens.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let mut scratch = Scratch::default();
        self.pre.split(text, |word| {
            self.encode_word(vocab, word, &mut scratch, out);
        })
    }

    fn encode_word(&self, vocab: &Vocab, word: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        if let Some(words) = &self.words {
            scratch.spelled.clear();
            scratch.spelled.extend(word.bytes().map(|byte| scratch.alphabet[usize::from(byte)]));
            if let Some(id) = words.find(&vocab.text, scratch.spelled.as_bytes()) {
                out.push(id);
                return;
            }
        }
        let start = out.len();
        out.extend(word.bytes().filter_map(|byte| self.byte_tokens[usize::from(byte)]));
        if out.len() - start > 1 {
            let merged = self.merge(&out[start..], scratch);
            out.truncate(start);
            out.extend(merged);
        }
    }

    /// Merges pairs until none is left. A heap rather than repeated scans keeps a hostile word of
    /// a megabyte at `n log n`.
    fn merge<'s>(&self, ids: &[u32], scratch: &'s mut Scratch) -> impl Iterator<Item = u32> + 's {
        let Scratch { symbols, heap, .. } = scratch;
        symbols.clear();
        heap.clear();
        symbols.extend(ids.iter().enumerate().map(|(at, &id)| Symbol {
            id,
            prev: at.wrapping_sub(1),
            next: if at + 1 < ids.len() { at + 1 } else { NONE },
        }));
        for at in 0..ids.len() - 1 {
            self.propose(symbols, heap, at);
        }
        while let Some(Reverse((rank, left))) = heap.pop() {
            let Symbol { id, next: right, prev } = symbols[left];
            if id == GONE || right == NONE {
                continue;
            }
            // Stale unless the pair at this place still has this rank.
            let Some(merge) =
                self.merges.get(&(id, symbols[right].id)).filter(|merge| merge.rank == rank)
            else {
                continue;
            };
            symbols[left].id = merge.id;
            symbols[left].next = symbols[right].next;
            symbols[right].id = GONE;
            if let Some(after) = symbols.get(symbols[left].next).map(|_| symbols[left].next) {
                symbols[after].prev = left;
                self.propose(symbols, heap, left);
            }
            if prev != NONE {
                self.propose(symbols, heap, prev);
            }
        }
        symbols.iter().map(|symbol| symbol.id).filter(|&id| id != GONE)
    }

    fn propose(
        &self,
        symbols: &[Symbol],
        heap: &mut BinaryHeap<Reverse<(u32, usize)>>,
        left: usize,
    ) {
        let right = symbols[left].next;
        if let Some(merge) = self.merges.get(&(symbols[left].id, symbols[right].id)) {
            heap.push(Reverse((merge.rank, left)));
        }
    }
}

/// No neighbour.
const NONE: usize = usize::MAX;
/// The id of a symbol that was merged into its left neighbour; no vocabulary is that large.
const GONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Symbol {
    id: u32,
    prev: usize,
    next: usize,
}

#[derive(Debug)]
struct Scratch {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<(u32, usize)>>,
    spelled: String,
    alphabet: [char; 256],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            heap: BinaryHeap::new(),
            spelled: String::new(),
            alphabet: char_of_byte(),
        }
    }
}
