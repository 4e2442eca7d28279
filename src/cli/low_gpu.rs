//! Arguments of the verbs that look at devices: `doctor` and `gpu-test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

/// `coppice doctor`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Prints Markdown to paste into an issue. Each device is opened in a process of its own and runs one op;
its verdict is that of the op. Home folder, user name and host name are blanked, nothing is uploaded.

Exit codes: 0 every device works, 1 one does not, 3 there is none but the processor, 4 internal error,
124 one did not answer in time.")]
pub struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Model whose memory is estimated: a path, or one that is on this machine already
    #[arg(short, long, value_name = "MODEL", env = "COPPICE_MODEL", default_value = "smollm2")]
    pub model: String,
    /// Limit of each device
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub timeout: f64,
    /// Threads of the CPU device [default: all cores]
    #[arg(short, long, value_name = "N", env = "COPPICE_THREADS")]
    pub threads: Option<usize>,
}

/// `coppice gpu-test`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "\
Examples:
  coppice gpu-test                                      are results right, on every device?
  coppice gpu-test --mode all -o report.html -o r.json  speed and support too, as a page and as data
  coppice gpu-test --mode perf --baseline r.json        is anything slower than it was?
  coppice gpu-test --fuzz 2000 --seed 7 --device wgpu:0 random shapes; failures are made small
  coppice gpu-test --device wgpu:0 --against cpu        two devices bit for bit

Each case runs in a child process with a time limit: a hang, a crash or a lost device ends that case, and
the run goes on. Nothing is uploaded.

Exit codes: 0 all is well, skipped or expected, 1 failures, 2 usage, 3 no such device, 4 the tester itself
went wrong, 124 a case did not end in time.")]
pub struct GpuTest {
    /// What to look at
    #[arg(long, value_name = "MODE", default_value = "correctness")]
    pub mode: Mode,
    /// Only these devices: cpu, reference, wgpu:N, cuda:N, or noop, which validates and computes
    /// nothing [default: all but reference and noop]
    #[arg(short, long, value_name = "DEVICE", value_delimiter = ',')]
    pub device: Vec<String>,
    /// Only devices of this API: vulkan, metal, dx12, cuda, cpu
    #[arg(long, value_name = "API")]
    pub backend: Option<String>,
    /// Only this form of the devices: usual, tier=baseline, small-limits, gpu-kernels, isa=avx2 …
    /// [default: usual; with --full all]
    #[arg(long, value_name = "FORM")]
    pub form: Option<String>,
    /// Only these ops
    #[arg(long, value_name = "OP", value_delimiter = ',')]
    pub op: Vec<String>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub case: Option<String>,
    /// List the cases and leave
    #[arg(long)]
    pub list: bool,
    /// Every form of each device, and shapes of large models
    #[arg(long)]
    pub full: bool,
    /// Compare each case with this device too, bit for bit
    #[arg(long, value_name = "DEVICE", conflicts_with = "fuzz")]
    pub against: Option<String>,
    /// Random legal cases in place of the table, this many a device; failures are shrunk
    #[arg(long, value_name = "N")]
    pub fuzz: Option<usize>,
    /// Seed of random cases
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Only this random case, as a failure of --fuzz prints it
    #[arg(long, value_name = "CASE", conflicts_with_all = ["fuzz", "op", "case"])]
    pub replay: Option<String>,
    /// Limit of each case
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub timeout: f64,
    /// Earlier JSON report: what is slower than in it by more than noise is a failure
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Known failures, beside the built-in ones; one that passes is a failure
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
    /// Write a report: .json, .xml (JUnit), .csv, .md or .html; or all of them into a folder. May be
    /// repeated
    #[arg(short, long, value_name = "PATH")]
    pub output: Vec<PathBuf>,
    /// Write the table of ops by device, with --mode support or all
    #[arg(long, value_name = "FILE")]
    pub support_table: Option<PathBuf>,
    /// Replace report files that exist
    #[arg(long)]
    pub force: bool,
    /// Threads of the CPU device [default: all cores]
    #[arg(short, long, value_name = "N", env = "COPPICE_THREADS")]
    pub threads: Option<usize>,
    /// Print the JSON report in place of the text
    #[arg(long)]
    pub json: bool,
    /// Plant a fault in every device, to see it found
    #[arg(long, value_name = "FAULT", hide = true)]
    pub plant: Option<String>,
    /// Answer tasks on the standard streams: what a run starts for each device
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// What `gpu-test` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Whether results are right.
    Correctness,
    /// How fast ops are, as shares of what the device can do.
    Perf,
    /// Which ops run.
    Support,
    /// All of these.
    All,
}
