//! What the app needs of a machine that can run models: [`LocalMachine`](super::LocalMachine) in the
//! app, a scripted one in tests.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use coppice::{
    backend::AdapterReport,
    check::report::{Measured, Record, Report},
    engine::{StopReason, Timings},
    kv::PageUse,
    sample::SamplerParams,
    spec::{
        Method,
        policy::VerifyCurve,
        trace::{Header, TraceRound},
    },
    text::Message,
};
use serde::{Deserialize, Serialize};

use super::mailbox::PullState;
use crate::problem::Problem;

/// Size of candidate trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeSize {
    /// What promises most tokens a unit of time.
    #[default]
    Auto,
    /// So many nodes, root included.
    Nodes(usize),
}

/// Who drafts, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drafting {
    /// Method.
    pub method: Method,
    /// Size of the heads' trees.
    pub tree: TreeSize,
    /// Fall back to plain steps where drafting does not pay.
    pub gate: bool,
    /// File of heads; those that come with the app for the model if absent.
    pub heads: Option<PathBuf>,
    /// Smaller model that drafts.
    pub draft_model: Option<PathBuf>,
}

impl Default for Drafting {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            tree: TreeSize::Auto,
            gate: true,
            heads: None,
            draft_model: None,
        }
    }
}

/// Which model to load, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadRequest {
    /// File or folder.
    pub model: PathBuf,
    /// Selector of the device: `auto`, `cpu`, `wgpu:0`.
    pub device: String,
    /// Tokens of context; the model's own, at most 8192, if absent.
    pub context: Option<usize>,
    /// Who drafts.
    pub drafting: Drafting,
}

/// Counts tokens of a text.
pub type TokenCounter = Arc<dyn Fn(&str) -> usize + Send + Sync>;

/// A loaded model.
#[derive(Clone)]
pub struct ModelInfo {
    /// File name.
    pub name: String,
    /// File or folder.
    pub path: PathBuf,
    /// Device, in words.
    pub device: String,
    /// Most tokens of prompt and answer together.
    pub context: usize,
    /// Bytes in use on the device.
    pub memory_bytes: u64,
    /// Methods that a request can name.
    pub methods: Vec<Method>,
    /// What the user may want to know about loading.
    pub notes: Vec<String>,
    /// What rounds take on this device, if it was measured.
    pub curve: Option<VerifyCurve>,
    /// Counts tokens of texts.
    pub count_tokens: TokenCounter,
}

impl std::fmt::Debug for ModelInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelInfo").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a model needs of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Weights.
    pub weights_bytes: u64,
    /// Key/value cache for the context.
    pub kv_bytes: u64,
    /// Everything else.
    pub scratch_bytes: u64,
    /// Tokens of context that this is for.
    pub context: usize,
    /// Free memory of the machine; absent where the system does not say.
    pub free_bytes: Option<u64>,
}

impl MemoryNeed {
    /// All together.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.kv_bytes + self.scratch_bytes
    }

    /// False only where it is known that there is too little room.
    pub fn fits(&self) -> bool {
        self.free_bytes.is_none_or(|free| self.total_bytes() <= free)
    }
}

/// A message to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The conversation, system prompt first.
    pub messages: Vec<Message>,
    /// Beginning of the answer, to be continued; empty for a new one.
    pub prefix: String,
    /// How tokens are chosen.
    pub sampler: SamplerParams,
    /// Most tokens of the answer; until the model stops if absent.
    pub max_tokens: Option<usize>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Who drafts.
    pub drafting: Drafting,
}

/// What happens during an answer.
#[derive(Debug)]
pub enum Happening {
    /// The request is accepted and the prompt will be computed.
    Begun {
        /// What runs.
        header: Box<Header>,
        /// Ids of the prompt.
        prompt_ids: Vec<u32>,
    },
    /// The prompt is computed.
    Prompt {
        /// Its tokens.
        tokens: usize,
    },
    /// Text that is certain.
    Text(String),
    /// A round is over.
    Round(Arc<TraceRound>),
    /// Pages of the cache after a round.
    Cache(CacheMap),
}

/// Who holds the pages of the key/value cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMap {
    /// Positions of a page.
    pub page_slots: usize,
    /// All pages of the device.
    pub pages: Vec<PageUse>,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Counts and times.
    pub timings: Timings,
    /// Tokens of prompt and answer together.
    pub context_used: usize,
}

/// What a device is checked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckKind {
    /// Whether every op computes what the reference does.
    #[default]
    Results,
    /// How fast ops are, of what the device can do at most.
    Speed,
}

/// Something that was tried on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRow {
    /// What came of it.
    pub record: Record,
    /// Its time, where that was measured.
    pub measured: Option<Measured>,
}

/// What happens while a device is checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Checking {
    /// A case begins.
    Case {
        /// Cases done.
        done: usize,
        /// Cases in all.
        total: usize,
        /// Its name.
        name: String,
    },
    /// A case ended.
    Row(Box<CheckRow>),
}

/// A machine that can run models.
pub trait Machine: Send + Sync + 'static {
    /// Where a model is on this disk, without the network.
    fn find(&self, model: &str) -> Option<PathBuf>;

    /// Fetches a model; `Ok(None)` if it was cancelled.
    ///
    /// # Errors
    /// What the network or the disk says.
    fn pull(
        &self,
        model: &str,
        cancel: &AtomicBool,
        report: &mut dyn FnMut(PullState),
    ) -> Result<Option<PathBuf>, Problem>;

    /// What a model needs of memory, without loading it.
    ///
    /// # Errors
    /// A file that is no model.
    fn estimate(&self, request: &LoadRequest) -> Result<MemoryNeed, Problem>;

    /// Loads a model; called on the thread that will use it.
    ///
    /// # Errors
    /// A file that is no model, a device that is not there or has no room.
    fn load(&self, request: &LoadRequest) -> Result<Box<dyn Loaded>, Problem>;

    /// All devices.
    ///
    /// # Errors
    /// What the drivers say.
    fn devices(&self) -> Result<Vec<AdapterReport>, Problem>;

    /// Checks a device, and gives the report of what was tried until it was done or cancelled.
    ///
    /// # Errors
    /// A device that does not exist, and processes that cannot be started.
    fn check(
        &self,
        selector: &str,
        kind: CheckKind,
        cancel: &AtomicBool,
        on: &mut dyn FnMut(Checking),
    ) -> Result<Box<Report>, Problem>;
}

/// A loaded model.
pub trait Loaded {
    /// What it is.
    fn info(&self) -> ModelInfo;

    /// Answers a message.
    ///
    /// # Errors
    /// A conversation longer than the context, settings out of range, and what the device reports.
    fn generate(
        &mut self,
        request: &ChatRequest,
        cancel: &AtomicBool,
        on: &mut dyn FnMut(Happening),
    ) -> Result<Answer, Problem>;
}

/// True for a path that looks like a model: a GGUF file, safetensors, or a folder with a
/// configuration.
pub fn looks_like_model(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("gguf" | "safetensors"))
        || path.join("config.json").is_file()
}
