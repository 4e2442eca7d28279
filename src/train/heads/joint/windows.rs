//! Conversations as windows of rows: what one pass of the model sees.

use super::JointOptions;
use crate::{
    format::heads::HeadKind,
    train::heads::{Options, features::Conversation, vocabulary::DraftVocab},
};

/// Rows of a conversation within a window. Rows of a window see those of their own piece only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    conversation: usize,
    first: usize,
    rows: usize,
}

/// What the host writes before a window; see the operands of the graph. Rows beyond the pieces are
/// padding: no token, nothing seen, no weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// `[T]`.
    pub ids: Vec<u32>,
    /// `[T]`.
    pub positions: Vec<u32>,
    /// `[T, 2]` each.
    pub spans: [Vec<u32>; 2],
    /// `[K, T]`: the root, then the tokens behind it; empty for independent heads.
    pub head_ids: Vec<u32>,
    /// `[K, T]` places in the draft vocabulary.
    pub targets: Vec<u32>,
    /// `[K, T]`: 1 where a head has a token to guess.
    pub weights: Vec<f32>,
    /// `[K, T]`: the tokens themselves, `None` where there is none.
    pub tokens: Vec<Option<u32>>,
    /// `[T]`: 1 where the divergence counts.
    pub kl: Vec<f32>,
}

impl Window {
    /// Rows with a token for the first head, and rows whose divergence counts.
    pub fn counts(&self) -> (usize, usize) {
        let rows = self.ids.len();
        let first = self.tokens[..rows].iter().filter(|token| token.is_some()).count();
        (first, self.kl.iter().filter(|weight| **weight > 0.0).count())
    }

    /// With losses weighted: heads by `head` times `decay^k`, the divergence by `kl`.
    pub fn weigh(&mut self, (head, decay): (f32, f32), kl: f32) {
        let rows = self.ids.len();
        let mut factor = head;
        for weights in self.weights.chunks_mut(rows) {
            weights.iter_mut().for_each(|weight| *weight *= factor);
            factor *= decay;
        }
        self.kl.iter_mut().for_each(|weight| *weight *= kl);
    }
}

/// Conversations cut and packed.
pub struct Windows<'a> {
    conversations: &'a [Conversation],
    windows: Vec<Vec<Piece>>,
    rows: usize,
    heads: usize,
    kind: HeadKind,
    near: usize,
}

impl<'a> Windows<'a> {
    /// Packs the conversations that are held out, or the others, in order: a window is closed where
    /// the next piece does not fit. Conversations longer than a window are cut; a cut piece does not
    /// see what was before. `near` is the window of windowed layers, 0 if there are none.
    pub fn pack(
        conversations: &'a [Conversation],
        held_out: bool,
        (options, joint, near): (&Options, &JointOptions, usize),
    ) -> Self {
        let mut windows: Vec<Vec<Piece>> = Vec::new();
        let mut left = 0;
        let some = conversations.iter().enumerate().filter(|(_, c)| c.held_out == held_out);
        for (conversation, c) in some {
            // The row before a token is the one that guesses it.
            let end = c.answers.iter().map(|answer| answer[1].saturating_sub(1)).max().unwrap_or(0);
            for first in (0..end).step_by(joint.window) {
                let rows = joint.window.min(end - first);
                let learns =
                    |&[start, stop]: &[usize; 2]| start < first + rows + 1 && first + 1 < stop;
                if !c.answers.iter().any(learns) {
                    continue;
                }
                if rows > left {
                    windows.push(Vec::new());
                    left = joint.window;
                }
                let open = windows.last_mut().expect("one was opened");
                open.push(Piece { conversation, first, rows });
                left -= rows;
            }
        }
        Self {
            conversations,
            windows,
            rows: joint.window,
            heads: options.heads,
            kind: options.kind,
            near,
        }
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// The arrays of a window.
    pub fn window(&self, index: usize, vocab: &DraftVocab) -> Window {
        let (rows, heads) = (self.rows, self.heads);
        let mut out = Window {
            ids: vec![u32::MAX; rows],
            positions: vec![u32::MAX; rows],
            spans: [vec![0; 2 * rows], vec![0; 2 * rows]],
            head_ids: match self.kind {
                HeadKind::Sequential => vec![u32::MAX; heads * rows],
                HeadKind::Independent => Vec::new(),
            },
            targets: vec![u32::MAX; heads * rows],
            weights: vec![0.0; heads * rows],
            tokens: vec![None; heads * rows],
            kl: vec![0.0; rows],
        };
        let mut start = 0;
        for piece in &self.windows[index] {
            let conversation = &self.conversations[piece.conversation];
            for i in 0..piece.rows {
                let (row, at) = (start + i, piece.first + i);
                out.ids[row] = conversation.ids[at];
                out.positions[row] = i as u32;
                let near = if self.near > 0 { (i + 1).saturating_sub(self.near) } else { 0 };
                for (spans, first) in out.spans.iter_mut().zip([start, start + near]) {
                    spans[2 * row] = first as u32;
                    spans[2 * row + 1] = row as u32 + 1;
                }
                let answer = conversation.answers.iter().find(|a| a[0] <= at + 1 && at + 1 < a[1]);
                let Some(&[_, end]) = answer else { continue };
                out.kl[row] = 1.0;
                for head in 0..heads {
                    let place = head * rows + row;
                    let token =
                        |ahead: usize| (at + ahead < end).then(|| conversation.ids[at + ahead]);
                    if let Some(id) = out.head_ids.get_mut(place) {
                        *id = token(1 + head).unwrap_or(u32::MAX);
                    }
                    if let Some(token) = token(2 + head) {
                        out.tokens[place] = Some(token);
                        out.targets[place] = vocab.place(token);
                        out.weights[place] = 1.0;
                    }
                }
            }
            start += piece.rows;
        }
        out
    }
}
