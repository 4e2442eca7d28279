//! Kinds of drafts that answers are compared for, from worthless to perfect.

use std::{path::PathBuf, sync::Arc};

use crate::{
    cli::{drafters, high, low_spec, term::Term},
    engine::{DraftSources, Engine, LoadOptions, vocabulary_id},
    error::{Error, Result},
    format::heads::{Dense, Head, HeadKind, HeadRecord, Heads, ResBlock},
    spec::{
        Draft, DraftContext, DraftNode, Lookup, LookupOptions, Method, Proposal, Proposer, Rest,
        RestOptions, RoundOutcome, Source, datastore::Datastore,
    },
};

/// Who drafts, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drafts {
    /// Heads of random weights, of which next to nothing is right.
    RandomHeads,
    /// The heads that `run` would use.
    Heads,
    /// Repeats of prompt and answer.
    Lookup,
    /// A datastore of the prompts and plain decoding's answers.
    Rest,
    /// A smaller model, or the model itself.
    Model,
    /// Lookup and the datastore, with the best heads there are.
    Auto,
    /// Plain decoding's own answer, a wrong guess beside each right one.
    Perfect,
}

const ALL: [Drafts; 7] = [
    Drafts::RandomHeads,
    Drafts::Heads,
    Drafts::Lookup,
    Drafts::Rest,
    Drafts::Model,
    Drafts::Auto,
    Drafts::Perfect,
];

impl Drafts {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RandomHeads => "medusa-random",
            Self::Heads => "medusa",
            Self::Lookup => "lookup",
            Self::Rest => "rest",
            Self::Model => "draft",
            Self::Auto => "auto",
            Self::Perfect => "perfect",
        }
    }

    /// The method that a request names.
    pub(super) fn method(self) -> Method {
        match self {
            Self::RandomHeads | Self::Heads => Method::Medusa,
            // A recorded text is looked up too.
            Self::Lookup | Self::Perfect => Method::Lookup,
            Self::Rest => Method::Rest,
            Self::Model => Method::Draft,
            Self::Auto => Method::Auto,
        }
    }

    /// Makes the proposer; `texts` are those that a datastore is made of. That of perfect drafts
    /// differs from prompt to prompt, and is made when its text is known.
    pub(super) fn set_up(
        self,
        engine: &mut Engine,
        sources: &Sources,
        texts: &[Vec<u32>],
    ) -> Result<()> {
        let heads = match self {
            Self::RandomHeads => Some(Arc::new(random_heads(engine))),
            Self::Heads | Self::Auto => sources.heads.clone(),
            _ => None,
        };
        let given = DraftSources { heads, curves: sources.curves.clone(), ..Default::default() };
        match self {
            Self::RandomHeads | Self::Heads | Self::Auto => {
                engine.draft_by(self.method(), &given, &sources.options)?;
            }
            Self::Model => {
                let given = DraftSources { model: Some(sources.model.clone()), ..given };
                engine.draft_by(Method::Draft, &given, &sources.options)?;
            }
            Self::Lookup => {
                engine.set_proposer(Box::new(Lookup::new(LookupOptions::default())));
            }
            Self::Rest => {
                let id = vocabulary_id(engine.tokenizer());
                let store = Datastore::of_documents(id, texts.iter().map(Vec::as_slice))?;
                engine.set_proposer(Box::new(Rest::new(store.into(), RestOptions::default())));
            }
            Self::Perfect => {}
        }
        Ok(())
    }
}

/// What drafts are made of.
pub(super) struct Sources {
    heads: Option<Arc<Heads>>,
    /// Path of the model that drafts.
    model: PathBuf,
    curves: Option<PathBuf>,
    options: LoadOptions,
}

impl Sources {
    pub(super) fn open(
        engine: &Engine,
        args: &low_spec::BenchLossless,
        term: &Term,
    ) -> Result<Self> {
        let heads = match &args.heads {
            Some(path) => Some(Arc::new(Heads::load(path)?.1)),
            None => engine.shipped_heads()?,
        };
        let model = args.draft_model.as_ref().unwrap_or(&args.model.model);
        Ok(Self {
            heads,
            model: high::model_path(model, args.model.offline, term)?,
            curves: drafters::curves(),
            options: high::load_options(&args.model, &args.device)?,
        })
    }
}

/// Kinds by their names.
pub(super) fn named(names: &[String]) -> Result<Vec<Drafts>> {
    let find = |name: &String| {
        ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| Error::Invalid {
            message: format!("--drafts {name}: there are no such drafts"),
            hint: Some(format!("there are {}", ALL.map(Drafts::name).join(", "))),
        })
    };
    names.iter().map(find).collect()
}

/// The kinds that were asked for, if they are possible; all that are if none were.
pub(super) fn possible(asked: Vec<Drafts>, sources: &Sources) -> Result<Vec<Drafts>> {
    let possible = |kind: &Drafts| *kind != Drafts::Heads || sources.heads.is_some();
    if asked.is_empty() {
        return Ok(ALL.into_iter().filter(possible).collect());
    }
    if asked.iter().all(possible) {
        return Ok(asked);
    }
    Err(Error::Invalid {
        message: "--drafts medusa: there are no heads for this model".into(),
        hint: Some("name some with --heads, or test medusa-random".into()),
    })
}

/// Three sequential heads of random weights that guess some hundred tokens of the vocabulary.
fn random_heads(engine: &Engine) -> Heads {
    const GUESSES: usize = 512;
    let config = engine.model().config();
    let (d, vocab) = (config.d_model, config.vocab);
    // Any numbers that look like none in particular (Marsaglia's xorshift).
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut matrix = |rows: usize, cols: usize| {
        let scale = 2.0 / (cols as f32).sqrt();
        Dense { rows, cols, data: (0..rows * cols).map(|_| scale * next()).collect() }
    };
    let heads = (0..3).map(|k| {
        let cols = (k + 2) * d;
        let block = ResBlock {
            weight: matrix(d, cols),
            bias: matrix(1, d).data,
            residual: Some(matrix(d, cols)),
        };
        Head { blocks: vec![block], projection: None }
    });
    let heads = heads.collect();
    let stride = vocab.div_ceil(GUESSES);
    Heads {
        kind: HeadKind::Sequential,
        width: d,
        vocab,
        draft_vocab: Some((0..vocab as u32).step_by(stride).collect()),
        embed_scale: 1.0,
        heads,
        record: HeadRecord::default(),
    }
}

/// Drafts along a recorded text, each right guess behind a wrong one.
pub(super) struct Recorded {
    text: Vec<u32>,
    vocab: usize,
}

impl Recorded {
    /// Most edges of a draft.
    const DEPTH: usize = 7;

    pub(super) fn new(text: Vec<u32>, vocab: usize) -> Self {
        Self { text, vocab }
    }
}

impl Proposer for Recorded {
    fn method(&self) -> Method {
        Method::Lookup
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        let at = context.ids.len();
        let node = |rank: u16| DraftNode { source: Source::Lookup, rank, p: None };
        let mut draft = Draft::new(context.root());
        let mut parent = 0;
        for depth in 0..Self::DEPTH.min(context.max_depth) {
            let Some(&token) = self.text.get(at + depth) else { break };
            if draft.len() + 2 > context.max_nodes {
                break;
            }
            draft.push((token + 1) % self.vocab as u32, parent, node(0));
            parent = draft.push(token, parent, node(1));
        }
        Ok(Proposal::Tokens(draft))
    }

    fn observe(&mut self, _: &RoundOutcome) {}
}
