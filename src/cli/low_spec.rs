//! Arguments about speculation: how to draft, recorded rounds, and Spec-Bench.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::low_shared::{Device, Model};

/// How to draft.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Speculation")]
pub struct Speculation {
    /// Method [default: auto if there are heads or other sources to draft from, else plain]
    #[arg(long, value_name = "METHOD")]
    pub spec: Option<Spec>,
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
    /// Draft heads of the model, for `medusa` and `auto`, or `none` [default: those that come with
    /// the program, for SmolLM2-135M-Instruct]
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
}

/// Speculation method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Spec {
    /// One token a step.
    Plain,
    /// Trees that heads fill.
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

/// `coppice trace`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Examples:
  coppice run -p 'Count to ten.' --trace t.jsonl
  coppice trace summary t.jsonl
  coppice trace rounds t.jsonl
  coppice trace tree t.jsonl --round 3 -o round3.svg

A trace is written by --trace of `run` and `chat`. It needs no model to be read.")]
#[command(disable_help_subcommand = true)]
pub struct Trace {
    #[command(subcommand)]
    pub action: TraceAction,
}

/// What to do with a trace.
#[derive(Debug, Serialize, Subcommand)]
pub enum TraceAction {
    /// Draw the candidate tree of a round as SVG
    Tree(TraceTree),
    /// Figures over all rounds, added up again from the rounds
    Summary(TraceSummary),
    /// A line for each round
    Rounds(TraceRounds),
}

/// `coppice trace tree`.
#[derive(Args, Debug, Serialize)]
pub struct TraceTree {
    /// Trace written by --trace
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Number of the round in the file, from 0, as `trace rounds` lists them
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub round: usize,
    /// Write the picture here [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `coppice trace summary`.
#[derive(Args, Debug, Serialize)]
pub struct TraceSummary {
    /// Trace written by --trace
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `coppice trace rounds`.
#[derive(Args, Debug, Serialize)]
pub struct TraceRounds {
    /// Trace written by --trace
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What else `coppice bench` measures.
#[derive(Debug, Subcommand)]
pub enum BenchKind {
    /// Speculation against plain decoding on questions in Spec-Bench's form
    Spec(Box<BenchSpec>),
    /// Whether speculation changes a token on this device: every kind of draft against plain decoding
    Lossless(Box<BenchLossless>),
    /// Decode, verify curve, host time and prefill of every graphics card, as shares of its peaks
    Suite(BenchSuite),
}

/// `coppice bench suite`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Example:
  coppice bench suite --out speed --python python3

Writes suite.json and suite.md. Weights are random and made on the device, in the shape of Llama 2 7B or,
where that does not fit, of a smaller model; a processor is timed with a small one. Exit code 1 if nothing
could run on a device; a limit that is not kept is a result.")]
pub struct BenchSuite {
    /// Folder for the results; made if need be
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,
    /// Devices [default: every graphics card, by CUDA and by wgpu, else the processor]
    #[arg(short, long, value_name = "DEVICES", value_delimiter = ',')]
    pub device: Vec<String>,
    /// Threads of the CPU device [default: all cores]
    #[arg(short, long, value_name = "N", env = "COPPICE_THREADS")]
    pub threads: Option<usize>,
    /// Shape, as for bench --synthetic [default: the largest that fits of llama2-7b, tinyllama-1.1b, llama-68m]
    #[arg(long, value_name = "SHAPE")]
    pub shape: Option<String>,
    /// Formats of the weights
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_value = "q4_k,q8_0")]
    pub quant: Vec<String>,
    /// Tokens of the prompt
    #[arg(short = 'p', long, value_name = "N", default_value_t = 1024)]
    pub prompt: usize,
    /// Tokens to decode
    #[arg(short = 'n', long, value_name = "N", default_value_t = 64)]
    pub decode: usize,
    /// Context behind which steps are timed
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub depth: usize,
    /// Repetitions
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub repeat: usize,
    /// Interpreter with PyTorch, to time the same shape there
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
}

/// `coppice bench lossless`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Kinds of drafts: medusa-random (heads of random weights), medusa, lookup, rest (a datastore of prompts
and answers), draft, auto, perfect (plain decoding's own answer, a wrong guess beside each token).
Settings: greedy, t0.7, t1, t0.7-p0.9, t1-p0.9, greedy-penalties, t0.7-penalties, t1-p0.9-penalties.

Example:
  coppice bench lossless --questions question.jsonl --limit 40 --device wgpu:0 --log lossless.jsonl

Answers go on behind the model's end token, and nothing is gated. Exit code 1 if an answer differs.")]
pub struct BenchLossless {
    /// Questions, as for `bench spec`; their first turns are the prompts
    #[arg(long, value_name = "FILE")]
    pub questions: PathBuf,
    /// Take the first N questions of the file
    #[arg(long, value_name = "N", conflicts_with = "per_category")]
    pub limit: Option<usize>,
    /// Take the first N questions of each category
    #[arg(long, value_name = "N")]
    pub per_category: Option<usize>,
    /// Tokens of an answer
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    /// Kinds of drafts [default: all that are possible]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub drafts: Vec<String>,
    /// Settings of the sampler [default: all]
    #[arg(long, value_name = "SETTINGS", value_delimiter = ',')]
    pub settings: Vec<String>,
    /// Seed of the first prompt; each further one has the next
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Note answers here as they come, and go on where an earlier run of the same command stopped
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Nodes of the trees that heads fill, root included
    #[arg(long, value_name = "NODES", default_value_t = 16)]
    pub tree: usize,
    /// Draft heads [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
    /// Model that drafts, named as for --model [default: the model itself]
    #[arg(long, value_name = "MODEL")]
    pub draft_model: Option<String>,
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

/// `coppice bench spec`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Examples:
  coppice bench spec --questions question.jsonl
  coppice bench spec --questions question.jsonl --per-category 2 --methods lookup,auto
  coppice bench spec --questions question.jsonl --format json -o spec.json --chart spec.svg

Plain decoding always runs too: each question is answered by all methods one after the other, and
who begins rotates. Turns are answered in the model's chat template, with the answers before them.
Exit code 1 if a method's ids differ from plain decoding's and --accept promises them. Ctrl-C prints what there is.")]
pub struct BenchSpec {
    /// Questions: a JSON object a line with question_id, category and turns
    #[arg(long, value_name = "FILE")]
    pub questions: PathBuf,
    /// Methods, the values of --spec; plain decoding is always among them [default:
    /// plain,medusa,lookup,auto, without medusa if there are no heads]
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    pub methods: Vec<Spec>,
    /// Take the first N questions of the file
    #[arg(long, value_name = "N", conflicts_with = "per_category")]
    pub limit: Option<usize>,
    /// Take the first N questions of each category
    #[arg(long, value_name = "N")]
    pub per_category: Option<usize>,
    /// Most tokens of a turn
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    /// Temperature; 0 takes the most likely token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temp: f32,
    /// Seed of the noise where the temperature is above 0
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Format of the report
    #[arg(long, value_name = "FORMAT", default_value = "md")]
    pub format: TableFormat,
    /// Draw the speedups as SVG
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,
    /// Write the report here [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write each answer as it comes to a new file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub drafting: Drafting,
    #[command(flatten)]
    #[serde(flatten)]
    pub rounds: Rounds,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: Model,
    #[command(flatten)]
    #[serde(flatten)]
    pub device: Device,
}

/// Format of a report of several tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Markdown tables.
    Md,
    /// One JSON object.
    Json,
    /// A line for each method and category.
    Csv,
}
