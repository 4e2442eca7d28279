//! Draft heads as plain data, whatever file they came from.

mod native;

pub use native::{Precision, is_native, load_native, save_native};

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
    /// Vocabulary V of the target.
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
    /// `accuracy[k][r]`: share of held-out positions at which guess `r` of head `k` was right,
    /// given that the guesses before it on the path were; the search for tree shapes reads it.
    pub accuracy: Vec<Vec<f32>>,
    /// How they were trained: command, data, steps, losses; free form.
    pub training: Option<serde_json::Value>,
}
