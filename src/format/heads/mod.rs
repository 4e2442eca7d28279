//! Draft heads as plain data, whatever file they came from.
//!
//! [`Heads::load`] reads a file or folder in any published layout of Medusa heads, from safetensors
//! or PyTorch archives, and our own; [`Heads::save`] writes our own.

mod description;
mod layout;
mod native;
mod pickle;
mod store;

use std::path::Path;

use store::Store;

use super::FormatError;
use crate::error::Error;

pub use description::{Description, describe_native, is_native};
pub use layout::Layout;
pub use native::{Precision, load_native, read_native, save_native};

/// A dense matrix `[rows, cols]` of f32, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// `rows * cols` values.
    pub data: Vec<f32>,
}

/// How heads depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// Every head sees the hidden state alone (Medusa, arXiv 2401.10774).
    Independent,
    /// Head `k` (from 0) also sees the embeddings of the root and of the `k` tokens drafted
    /// before it (Hydra, arXiv 2402.05109).
    Sequential,
}

/// A residual block `y = r(x) + silu(W x + b)`.
#[derive(Clone, Debug, PartialEq)]
pub struct ResBlock {
    /// `W [D, in]`.
    pub weight: Dense,
    /// `b [D]`.
    pub bias: Vec<f32>,
    /// `R [D, in]` of `r(x) = R x`, where input and output differ in width; identity if absent.
    pub residual: Option<Dense>,
}

/// One head: blocks, then a projection to the draft vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// At least one for [`HeadKind::Sequential`]. The first takes `[D]` of the hidden state,
    /// followed for sequential heads by `[D]` of the root's embedding and of each token drafted
    /// before, oldest first, each embedding scaled by [`Heads::embed_scale`].
    pub blocks: Vec<ResBlock>,
    /// `[V', D]` own projection; the target's output matrix, restricted to
    /// [`Heads::draft_vocab`], if absent.
    pub projection: Option<Dense>,
}

/// A set of heads for one model. Head `k` guesses the token `k + 2` places after the position
/// whose hidden state (after the final norm) it reads: `k + 1` places behind the root.
#[derive(Clone, Debug, PartialEq)]
pub struct Heads {
    /// How heads depend on each other.
    pub kind: HeadKind,
    /// Width D of the target's hidden state.
    pub width: usize,
    /// Vocabulary V of the target; 0 where the file does not say, as with projections that are the
    /// target's.
    pub vocab: usize,
    /// Target ids that heads can guess, rising, where that is not all of them: row `i` of a
    /// projection is the token `draft_vocab[i]`.
    pub draft_vocab: Option<Vec<u32>>,
    /// Factor on embeddings that sequential heads see; 1 if the file does not say.
    pub embed_scale: f32,
    /// By depth.
    pub heads: Vec<Head>,
    /// Where the file says so: see [`HeadRecord`].
    pub record: HeadRecord,
}

/// What a head file tells about itself; kept as metadata of our own files.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HeadRecord {
    /// Name of the target.
    pub base_model: Option<String>,
    /// SHA-256 of the target's file, lower-case hexadecimal.
    pub base_sha256: Option<String>,
    /// SHA-256 of the target's norms ([`crate::format::ModelSource::norms_sha256`]), by which other
    /// quantisations of it are known too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_norms_sha256: Option<String>,
    /// `accuracy[k][r]`: share of held-out positions at which guess `r` of head `k` was right,
    /// given that the guesses before it on the path were; the search for tree shapes reads it.
    pub accuracy: Vec<Vec<f32>>,
    /// How often guesses were right behind paths of guesses that were, in rounds of drafting for the
    /// target (`coppice heads calibrate`); empty where nobody counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathCount>,
    /// How they were trained: command, data, steps, losses; free form.
    pub training: Option<serde_json::Value>,
}

/// How often one guess was right.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PathCount {
    /// Ranks of the guesses from the first head's on; the last one is the guess counted, by head
    /// `ranks.len() - 1`.
    pub ranks: Vec<u16>,
    /// Rounds in which it was right.
    pub hits: u64,
    /// Rounds in which all before it were.
    pub trials: u64,
}

impl Heads {
    /// Reads heads from a file, the index of several, or a folder. How many there are, of how many
    /// blocks, is taken from the names of the tensors.
    ///
    /// # Errors
    /// A file that cannot be read, has no heads (what it has is listed), or heads whose parts do not
    /// fit together.
    pub fn load(path: &Path) -> Result<(Layout, Self), FormatError> {
        let store = Store::open(path)?;
        let (layout, heads) = match store.is_native() {
            true => (Layout::Coppice, load_native(store.file())?),
            false => layout::read(&store)?,
        };
        heads.consistent().map_err(|message| store.error(message, None))?;
        Ok((layout, heads))
    }

    /// Whether a file or folder holds heads and nothing else, or is PyTorch's, which no model of ours
    /// is; it need not be sound.
    pub fn are_in(path: &Path) -> bool {
        store::is_torch(path)
            || Store::open(path)
                .is_ok_and(|store| store.is_native() || layout::is_only_heads(&store))
    }

    /// Numbers in all matrices and biases.
    pub fn parameters(&self) -> usize {
        let block = |block: &ResBlock| {
            let residual = block.residual.as_ref().map_or(0, |m| m.data.len());
            block.weight.data.len() + block.bias.len() + residual
        };
        let head = |head: &Head| {
            let projection = head.projection.as_ref().map_or(0, |m| m.data.len());
            head.blocks.iter().map(block).sum::<usize>() + projection
        };
        self.heads.iter().map(head).sum()
    }

    /// Writes our own file. It replaces what has its name when it is complete, and not before.
    ///
    /// # Errors
    /// Heads whose parts do not fit together or whose vocabulary is not known, and as
    /// [`save_native`].
    pub fn save(&self, path: &Path, precision: Precision) -> Result<(), FormatError> {
        let known = match self.vocab {
            0 => Err("the vocabulary of the heads is not known".to_owned()),
            _ => self.consistent(),
        };
        known.map_err(|message| FormatError::File {
            file: path.to_owned(),
            message: format!("heads that cannot be saved: {message}"),
            hint: None,
        })?;
        save_native(self, path, precision)
    }

    /// Whether the heads can draft for a model with hidden states of `width` and `vocab` tokens.
    ///
    /// # Errors
    /// [`Error::Model`] with both sides' numbers.
    pub fn check(&self, width: usize, vocab: usize) -> Result<(), Error> {
        let beyond = self.draft_vocab.iter().flatten().find(|&&id| id as usize >= vocab);
        let message = if self.width != width {
            format!("are for hidden states of {}, the model has {width}", self.width)
        } else if self.vocab != 0 && self.vocab != vocab {
            format!("are for a vocabulary of {}, the model has {vocab}", self.vocab)
        } else if let Some(id) = beyond {
            format!("draft token {id}, the model has {vocab}")
        } else {
            return Ok(());
        };
        let trained_for = self.record.base_model.as_ref();
        Err(Error::Model {
            model: "the draft heads".into(),
            message,
            hint: trained_for.map(|name| format!("they were trained for {name}")),
        })
    }

    /// Whether the parts fit together; what does not, with values.
    fn consistent(&self) -> Result<(), String> {
        let d = self.width;
        if self.heads.is_empty() || d == 0 {
            return Err("there are no heads".into());
        }
        if !self.embed_scale.is_finite() {
            return Err(format!("embeddings are scaled by {}", self.embed_scale));
        }
        if let Some(ids) = &self.draft_vocab {
            if let Some(pair) = ids.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(format!("draft token {} is followed by {}", pair[0], pair[1]));
            }
            match ids.last() {
                None => return Err("the draft vocabulary is empty".into()),
                Some(&last) if self.vocab > 0 && last as usize >= self.vocab => {
                    return Err(format!("draft token {last} is beyond {} tokens", self.vocab));
                }
                Some(_) => {}
            }
        }
        let rows = self.draft_vocab.as_ref().map_or(self.vocab, Vec::len);
        for (k, head) in self.heads.iter().enumerate() {
            head.consistent(d, self.first_inputs(k), rows).map_err(|e| format!("head {k}: {e}"))?;
        }
        Ok(())
    }

    /// Inputs of the first block of a head.
    fn first_inputs(&self, head: usize) -> usize {
        match self.kind {
            HeadKind::Independent => self.width,
            HeadKind::Sequential => self.width.saturating_mul(head + 2),
        }
    }
}

impl Head {
    fn consistent(&self, d: usize, first: usize, rows: usize) -> Result<(), String> {
        for (j, block) in self.blocks.iter().enumerate() {
            let inputs = if j == 0 { first } else { d };
            let shape = |m: &Dense| (m.rows, m.cols);
            if shape(&block.weight) != (d, inputs) || block.bias.len() != d {
                return Err(format!(
                    "block {j} has a weight of {:?} and a bias of {}, wanted {:?} and {d}",
                    shape(&block.weight),
                    block.bias.len(),
                    (d, inputs)
                ));
            }
            match &block.residual {
                None if inputs != d => {
                    return Err(format!("block {j} takes {inputs} and gives {d}: no identity"));
                }
                Some(residual) if shape(residual) != (d, inputs) => {
                    return Err(format!("block {j} has a residual of {:?}", shape(residual)));
                }
                _ => {}
            }
        }
        if self.blocks.is_empty() && first != d {
            return Err(format!("there is no block to take {first} inputs"));
        }
        match &self.projection {
            Some(p) if p.cols != d || (rows > 0 && p.rows != rows) => {
                Err(format!("the projection is [{}, {}], wanted [{rows}, {d}]", p.rows, p.cols))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
