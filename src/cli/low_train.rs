//! Arguments of `coppice train`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::low_shared::{Device, Model};

/// `coppice train`.
#[derive(Args, Debug, Serialize)]
#[command(arg_required_else_help = true)]
pub struct Train {
    #[command(subcommand)]
    #[serde(flatten)]
    pub stage: TrainStage,
}

/// Stages of training.
#[derive(Debug, Serialize, Subcommand)]
#[serde(rename_all = "lowercase")]
pub enum TrainStage {
    /// Let the model answer prompts, and write them itself: the text that heads learn
    Data(Box<TrainData>),
    /// Train draft heads on what the model wrote
    Medusa(Box<TrainMedusa>),
}

/// `coppice train data`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Prompts are lines of a text file, or objects of a .jsonl file: {\"prompt\": TEXT}, {\"turns\": [TEXT,
…]}, {\"messages\": [{\"role\": …, \"content\": TEXT}, …]} (the model gives its own answers), or
{\"begin\": TEXT, \"count\": N} (the model completes the user's turn, N times). `system` may stand
beside each.

The run can be stopped at any time. Started again with the same model and flags it goes on where it
was; prompts may be added.

Examples:
  coppice train data --self-prompts 1000 -o data
  coppice train data --prompts questions.txt --prompts chats.jsonl --tokens 1000000 -o data")]
pub struct TrainData {
    /// File of prompts; may be repeated
    #[arg(long, value_name = "FILE")]
    pub prompts: Vec<PathBuf>,
    /// Conversations in which the model writes the user's turns too
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub self_prompts: usize,
    /// Most turns of such a conversation
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub self_turns: usize,
    /// Folder to write to, or to go on in
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Stop when there are this many tokens of answers [default: after the last prompt]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// Most tokens of an answer
    #[arg(short = 'n', long, value_name = "N", default_value_t = 256)]
    pub max_tokens: usize,
    /// Temperature of answers that are not greedy
    #[arg(long, value_name = "T", default_value_t = 0.7)]
    pub temp: f32,
    /// Keep the most likely tokens of this total probability; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f32,
    /// Share of conversations with greedy answers
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub greedy_share: f32,
    /// Temperature of user's turns that the model writes
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    pub user_temp: f32,
    /// Total probability of the tokens kept for them
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub user_top_p: f32,
    /// Most tokens of a user's turn; longer ones are given up
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub user_tokens: usize,
    /// Seed; the same seed, model and flags give the same conversations
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Conversations at once
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    pub batch: usize,
    /// Continue prompts as they are, without the chat template
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// `coppice train medusa`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
The model stays as it is; heads learn from its hidden states, which are computed once and kept in
the --work folder, together with checkpoints and a log. The run can be stopped at any time; the same
command goes on where it was, and on the CPU ends with the same heads.

With --joint the model learns too (Medusa-2): low-rank adapters on its matrices, held near the
original model by their divergence from it. They are merged into a new GGUF file, for which the
heads then are. Either the heads' loss rises along a sine, or the heads were trained alone before:
--from them with --head-ramp constant.

Examples:
  coppice train medusa --data data -o heads.safetensors
  coppice train medusa --data data --all-tokens --text book.txt --kind hydra -o heads.safetensors
  coppice train medusa --data data --joint --merged tuned.gguf -o tuned.safetensors
  coppice train medusa --data data --joint --merged tuned.gguf --from heads.safetensors \
      --head-ramp constant -o tuned.safetensors
  coppice run -m tuned.gguf --heads tuned.safetensors")]
pub struct TrainMedusa {
    /// Folder that `coppice train data` wrote; may be repeated
    #[arg(long, value_name = "DIR", required = true)]
    pub data: Vec<PathBuf>,
    /// Text to learn from as if the model had written it; needs soft targets; may be repeated
    #[arg(long, value_name = "FILE")]
    pub text: Vec<PathBuf>,
    /// Most tokens of each text
    #[arg(long, value_name = "N")]
    pub text_tokens: Option<usize>,
    /// Learn at the tokens of prompts too, not only at those of answers; needs soft targets
    #[arg(long)]
    pub all_tokens: bool,
    /// File of heads to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Folder of hidden states, checkpoint and log [default: the output with `.work`]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// How heads depend on each other
    #[arg(long, value_name = "KIND", default_value = "hydra")]
    pub kind: Kind,
    /// Number of heads
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub heads: usize,
    /// Residual blocks of a head
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub blocks: usize,
    /// Tokens that heads can guess: the most frequent of the answers
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub draft_vocab: usize,
    /// Learn the tokens that follow, or what the model holds likely there [default: soft; with
    /// --joint hard]
    #[arg(long, value_name = "TARGETS")]
    pub targets: Option<HeadTargets>,
    /// Tokens of a soft target
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub soft_top: usize,
    /// Times that every position is seen
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub epochs: usize,
    /// Highest learning rate [default: 1e-3; with --joint 2.5e-4, for the adapters]
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f32>,
    /// Share of the steps in which the rate rises
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    pub warmup: f32,
    /// Weight decay
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub decay: f32,
    /// Largest norm of a gradient; 0 for no limit
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub max_norm: f32,
    /// Weight of a head's loss relative to the head before
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    pub head_weight: f32,
    /// Positions of a step
    #[arg(short, long, value_name = "N", default_value_t = 512)]
    pub batch: usize,
    /// Share of conversations kept from training, on which accuracy is measured
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub held_out: f64,
    /// Steps between evaluations and checkpoints
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub every: usize,
    /// Most held-out positions of an evaluation
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub eval_positions: usize,
    /// Seed of the initial weights and of the order of positions
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Start from these heads in place of fresh ones
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Begin anew even if there is a checkpoint, and replace it
    #[arg(long)]
    pub restart: bool,
    /// How the file holds matrices
    #[arg(long, value_name = "FORMAT", default_value = "q8")]
    pub precision: HeadPrecision,
    #[command(flatten)]
    #[serde(flatten)]
    pub joint: Joint,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// Kind of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Each head sees the hidden state alone (arXiv 2401.10774).
    Medusa,
    /// Heads also see the tokens drafted before (arXiv 2402.05109).
    Hydra,
}

/// What heads learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HeadTargets {
    Hard,
    Soft,
}

/// Format of matrices in a head file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HeadPrecision {
    F32,
    F16,
    Q8,
}

/// Training of the model with its heads.
#[derive(Args, Debug, Serialize)]
#[command(next_help_heading = "Joint training")]
pub struct Joint {
    /// Train the model too, by adapters that are merged into a new file (Medusa-2)
    #[arg(long, requires = "merged")]
    pub joint: bool,
    /// GGUF file to write: the model with its adapters
    #[arg(long, value_name = "FILE", requires = "joint")]
    pub merged: Option<PathBuf>,
    /// How that file holds matrices with adapters; the rest stays as it is
    #[arg(long, value_name = "FORMAT", default_value = "f16", requires = "joint")]
    pub merged_format: String,
    /// Rank of an adapter
    #[arg(long, value_name = "N", default_value_t = 32, requires = "joint")]
    pub rank: usize,
    /// An adapter adds ALPHA / RANK times its product to a matrix
    #[arg(long, value_name = "ALPHA", default_value_t = 16.0, requires = "joint")]
    pub alpha: f32,
    /// Matrices with adapters
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "joint")]
    #[arg(default_value = "q,k,v,o,gate,up,down")]
    pub adapt: Vec<String>,
    /// Learning rate of heads over that of adapters
    #[arg(long, value_name = "X", default_value_t = 4.0, requires = "joint")]
    pub head_rate: f32,
    /// Weight of the heads' loss
    #[arg(long, value_name = "X", default_value_t = 0.2, requires = "joint")]
    pub head_loss: f32,
    /// How that weight develops
    #[arg(long, value_name = "RAMP", default_value = "sine", requires = "joint")]
    pub head_ramp: HeadRamp,
    /// Weight of the divergence from the original model
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "joint")]
    pub kl: f32,
    /// Positions of a window, within which rows see each other; a batch is several windows
    #[arg(long, value_name = "N", default_value_t = 256, requires = "joint")]
    pub window: usize,
}

/// How the weight of the heads' loss develops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HeadRamp {
    /// It rises along a sine: for fresh heads.
    Sine,
    /// It stays: for heads trained alone before.
    Constant,
}
