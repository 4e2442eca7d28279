//! The machine the app runs on: the library's engine behind [`Machine`].

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use coppice::{
    backend::AdapterReport,
    check::report::Report,
    engine::{DeviceSpec, DraftSources, Engine, Event, LoadOptions, Request, list_adapters},
    format::{ModelSource, heads::Heads},
    hub::{self, Network, Source},
    model::{Model, ModelOptions, Precision},
    ops::KvFormat,
    sample::Sampler,
    spec::{
        AcceptRule, Method, RoundOutcome, Speculation, TreeChoice,
        policy::VerifyCurve,
        trace::{Header, SCHEMA, TraceRound, token_text},
    },
    text::{AddSpecial, ChatInput, ParseSpecial, Tokenizer},
};

use super::{
    Answer, CacheMap, ChatRequest, CheckKind, Checking, Drafting, Happening, LoadRequest, Loaded,
    Machine, MemoryNeed, ModelInfo, PullState, TreeSize,
};
use crate::problem::Problem;

/// Heads that come with the app, and a part of the file names of the model they are for.
const HEADS: (&str, &[u8]) = (
    "smollm2-135m-instruct",
    include_bytes!("../../../assets/heads/smollm2-135m-instruct.safetensors"),
);
/// Context where the user names none and the model has more; the library's own.
const DEFAULT_CONTEXT: usize = 8192;

/// The machine the app runs on.
#[derive(Debug, Default)]
pub struct LocalMachine {
    /// Program that checks devices when it is called with [`CHECKER`](super::CHECKER); this one if
    /// absent.
    pub checker: Option<PathBuf>,
}

impl Machine for LocalMachine {
    fn find(&self, model: &str) -> Option<PathBuf> {
        hub::find(&model.parse().ok()?).ok()?
    }

    fn pull(
        &self,
        model: &str,
        cancel: &AtomicBool,
        report: &mut dyn FnMut(PullState),
    ) -> Result<Option<PathBuf>, Problem> {
        let source: Source = model.parse()?;
        let offline =
            std::env::var("HF_HUB_OFFLINE").is_ok_and(|v| !matches!(v.as_str(), "" | "0"));
        let network = if offline { Network::Offline } else { Network::Allowed };
        let mut download = Download { state: PullState::default(), cancel, report };
        // The downloader has no way to stop it, so that a cancelled one unwinds from its own
        // callback; it holds nothing but files that a later try resumes.
        let pulled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hub::pull(&source, network, &mut download)
        }));
        match pulled {
            Ok(done) => Ok(Some(done?)),
            Err(cause) if cause.is::<Cancelled>() => Ok(None),
            Err(_) => Err(Problem::new(
                format!("the download of {model} failed within the downloader"),
                "try again; what is there already is kept",
            )),
        }
    }

    fn estimate(&self, request: &LoadRequest) -> Result<MemoryNeed, Problem> {
        let source = ModelSource::open(&request.model).map_err(coppice::Error::from)?;
        let config = source.config().map_err(coppice::Error::from)?;
        let context = request.context.unwrap_or(config.max_context.min(DEFAULT_CONTEXT));
        let options = ModelOptions {
            quant: None,
            precision: Precision::MIXED,
            kv_format: KvFormat::F16,
            capacity: context + Engine::MAX_TREE_ROWS,
        };
        let need = Model::estimate(&source, &options)?;
        Ok(MemoryNeed {
            weights_bytes: need.weights_bytes,
            kv_bytes: need.kv_bytes,
            scratch_bytes: need.scratch_bytes,
            context,
            free_bytes: free_bytes(),
        })
    }

    fn load(&self, request: &LoadRequest) -> Result<Box<dyn Loaded>, Problem> {
        let options = LoadOptions {
            device: request.device.parse::<DeviceSpec>()?,
            threads: None,
            precision: None,
            quant: None,
            kv: KvFormat::F16,
            context: request.context,
            sequences: 1,
        };
        let engine = Engine::load(&request.model, &options)?;
        if engine.chat_template().is_none() {
            return Err(Problem::new(
                format!("{} has no chat template", engine.name()),
                "choose a model that is tuned for chat, often named `instruct` or `it`",
            ));
        }
        let mut loaded = LocalModel {
            engine,
            options,
            path: request.model.clone(),
            notes: Vec::new(),
            prepared: None,
            curve: None,
        };
        loaded.draft_by(&request.drafting)?;
        Ok(Box::new(loaded))
    }

    fn devices(&self) -> Result<Vec<AdapterReport>, Problem> {
        Ok(list_adapters(None)?)
    }

    fn check(
        &self,
        selector: &str,
        kind: CheckKind,
        cancel: &AtomicBool,
        on: &mut dyn FnMut(Checking),
    ) -> Result<Box<Report>, Problem> {
        super::check::check(self.checker.clone(), selector, kind, cancel, on)
    }
}

/// What a cancelled download unwinds with.
struct Cancelled;

struct Download<'a> {
    state: PullState,
    cancel: &'a AtomicBool,
    report: &'a mut dyn FnMut(PullState),
}

impl Download<'_> {
    fn tell(&mut self) {
        if self.cancel.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new(Cancelled));
        }
        (self.report)(self.state.clone());
    }
}

impl hub::Progress for Download<'_> {
    fn start(&mut self, name: &str, total_bytes: u64, done_bytes: u64) {
        let note = self.state.note.take();
        self.state = PullState { name: name.into(), done_bytes, total_bytes, note };
        self.tell();
    }

    fn advance(&mut self, bytes: u64) {
        self.state.done_bytes += bytes;
        self.tell();
    }

    fn finish(&mut self) {
        self.state.done_bytes = self.state.total_bytes;
        self.tell();
    }

    fn note(&mut self, text: &str) {
        self.state.note = Some(text.into());
        self.tell();
    }
}

/// Memory that could be had without swapping; known on Linux.
fn free_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

struct LocalModel {
    engine: Engine,
    options: LoadOptions,
    path: PathBuf,
    notes: Vec<String>,
    /// What the proposer was made from.
    prepared: Option<Drafting>,
    /// What rounds take on this device.
    curve: Option<VerifyCurve>,
}

impl LocalModel {
    /// Makes the proposer, unless it is the one there is.
    fn draft_by(&mut self, wanted: &Drafting) -> Result<(), Problem> {
        let same = self.prepared.as_ref().is_some_and(|has| {
            (has.method, &has.heads, &has.draft_model)
                == (wanted.method, &wanted.heads, &wanted.draft_model)
        });
        if same {
            return Ok(());
        }
        let method = wanted.method;
        let heads = match method {
            Method::Medusa | Method::Auto => self.heads(wanted)?,
            _ => None,
        };
        let model = match method {
            Method::Draft => wanted.draft_model.clone(),
            Method::Auto if heads.is_none() => wanted.draft_model.clone(),
            _ => None,
        };
        let sources = DraftSources {
            model,
            heads,
            // Without a home folder the curve is measured anew each time.
            curves: curves(),
            ..DraftSources::default()
        };
        self.notes = self.engine.draft_by(method, &sources, &self.options)?;
        if method != Method::Plain {
            self.curve = Some(self.engine.curve(curves().as_deref())?.clone());
        }
        self.prepared = Some(wanted.clone());
        Ok(())
    }

    /// Heads the user chose, else those that come with the app for this model.
    fn heads(&mut self, wanted: &Drafting) -> Result<Option<Arc<Heads>>, Problem> {
        let path = match &wanted.heads {
            Some(path) => path.clone(),
            None => {
                let (name, bytes) = HEADS;
                let file = self.path.file_name().unwrap_or_default().to_string_lossy();
                if !file.to_ascii_lowercase().contains(name) {
                    return Ok(None);
                }
                unpack(name, bytes)?
            }
        };
        Ok(Some(Arc::new(Heads::load(&path).map_err(coppice::Error::from)?.1)))
    }
}

/// Writes heads that come with the app where the library can map them; gives the path.
fn unpack(name: &str, bytes: &[u8]) -> Result<PathBuf, Problem> {
    let folder = hub::models_dir()?.with_file_name("heads");
    let path = folder.join(format!("{name}-{}.safetensors", env!("CARGO_PKG_VERSION")));
    let there = std::fs::metadata(&path).is_ok_and(|meta| meta.len() == bytes.len() as u64);
    if !there {
        let partial = path.with_extension("partial");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&partial, bytes))
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|error| {
                Problem::new(
                    format!("cannot write {}: {error}", path.display()),
                    "free some room, or set COPPICE_HOME to another disk",
                )
            })?;
    }
    Ok(path)
}

fn curves() -> Option<PathBuf> {
    hub::models_dir().ok().map(|models| models.with_file_name("curves"))
}

impl Loaded for LocalModel {
    fn info(&self) -> ModelInfo {
        let tokenizer = self.engine.shared_tokenizer();
        let count = move |text: &str| {
            let ids = tokenizer.encode(text, AddSpecial::No, ParseSpecial::No);
            ids.map_or(0, |ids| ids.len())
        };
        ModelInfo {
            name: self.engine.name().into(),
            path: self.path.clone(),
            device: self.engine.adapter().to_string(),
            context: self.engine.context(),
            memory_bytes: self.engine.memory().allocated_bytes,
            methods: self.engine.methods(),
            notes: self.notes.clone(),
            curve: self.curve.clone(),
            count_tokens: Arc::new(count),
        }
    }

    fn generate(
        &mut self,
        request: &ChatRequest,
        cancel: &AtomicBool,
        on: &mut dyn FnMut(Happening),
    ) -> Result<Answer, Problem> {
        self.draft_by(&request.drafting)?;
        let prompt = self.prompt(request)?;
        let spec = speculation(&request.drafting);
        on(Happening::Begun {
            header: Box::new(self.header(request, &spec)?),
            prompt_ids: prompt.clone(),
        });
        let request = Request {
            prompt,
            max_tokens: request.max_tokens,
            sampler: request.sampler.clone(),
            stop: request.stop.clone(),
            ignore_eos: false,
            spec,
        };
        let tokenizer = self.engine.shared_tokenizer();
        let pool = self.engine.model().pool().clone();
        let generation = self.engine.generate(&request, cancel, &mut |event| match event {
            Event::Prompt { tokens } => on(Happening::Prompt { tokens }),
            Event::Text(text) => on(Happening::Text(text.to_owned())),
            Event::Round(outcome) => {
                on(Happening::Cache(CacheMap {
                    page_slots: pool.page_slots(),
                    pages: pool.page_uses(),
                }));
                on(Happening::Round(Arc::new(with_texts(outcome, &tokenizer))));
            }
        })?;
        Ok(Answer {
            stop_reason: generation.stop_reason,
            context_used: request.prompt.len() + generation.ids.len(),
            timings: generation.timings,
        })
    }
}

impl LocalModel {
    fn prompt(&self, request: &ChatRequest) -> Result<Vec<u32>, Problem> {
        let template = self.engine.chat_template().ok_or_else(|| {
            Problem::new("the model has no chat template", "choose a model tuned for chat")
        })?;
        let text = template.render(&ChatInput::new(&request.messages));
        let mut text = text.map_err(coppice::Error::from)?;
        text.push_str(&request.prefix);
        let ids = self.engine.tokenizer().encode(&text, AddSpecial::No, ParseSpecial::Yes);
        let ids = ids.map_err(coppice::Error::from)?;
        if ids.len() >= self.engine.context() {
            return Err(Problem::new(
                format!(
                    "this conversation has {} tokens, the context has room for {}",
                    ids.len(),
                    self.engine.context()
                ),
                "start a new chat, branch from an earlier message, or load the model with a longer \
                 context",
            ));
        }
        Ok(ids)
    }

    fn header(&self, request: &ChatRequest, spec: &Speculation) -> Result<Header, Problem> {
        let rule = AcceptRule::lossless_for(&Sampler::new(request.sampler.clone())?);
        Ok(Header {
            schema: SCHEMA,
            coppice: env!("CARGO_PKG_VERSION").into(),
            model: self.engine.name().into(),
            device: self.engine.adapter().to_string(),
            method: spec.method,
            acceptance: rule.name().into(),
            sampler: request.sampler.clone(),
            tree: match spec.tree {
                TreeChoice::Nodes(nodes) => Some(format!("of {nodes} nodes")),
                TreeChoice::Auto | TreeChoice::Shape(_) => None,
            },
        })
    }
}

fn speculation(drafting: &Drafting) -> Speculation {
    Speculation {
        tree: match drafting.tree {
            TreeSize::Auto => TreeChoice::Auto,
            TreeSize::Nodes(nodes) => TreeChoice::Nodes(nodes),
        },
        gate: drafting.gate,
        ..Speculation::by(drafting.method)
    }
}

fn with_texts(outcome: &RoundOutcome, tokenizer: &Tokenizer) -> TraceRound {
    let text = |token| token_text(tokenizer.token_bytes(token).unwrap_or_default());
    TraceRound {
        answer: 0,
        texts: outcome.nodes.iter().map(|node| text(node.token)).collect(),
        bonus_text: text(outcome.bonus),
        outcome: outcome.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_that_is_no_model_is_named() {
        let file = tempfile::NamedTempFile::with_suffix(".gguf").expect("a temporary file");
        std::fs::write(file.path(), b"GGUF?").expect("it is writable");
        let request = LoadRequest {
            model: file.path().into(),
            device: "reference".into(),
            context: None,
            drafting: Drafting::default(),
        };
        let name = file.path().display().to_string();
        let problem = LocalMachine::default().load(&request).err().expect("it is no model");
        assert!(problem.what.contains(&name), "{problem}");
        assert!(LocalMachine::default().estimate(&request).is_err());
        let nowhere = LoadRequest { model: Path::new("/no/such.gguf").into(), ..request };
        let problem = LocalMachine::default().load(&nowhere).err().expect("there is none");
        assert!(problem.what.contains("/no/such.gguf"), "{problem}");
    }

    #[test]
    fn a_cancelled_download_is_no_error() {
        let cancel = AtomicBool::new(true);
        let mut report = |_| ();
        let mut download =
            Download { state: PullState::default(), cancel: &cancel, report: &mut report };
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hub::Progress::advance(&mut download, 1);
        }));
        assert!(stopped.expect_err("it unwinds").is::<Cancelled>());
    }
}
