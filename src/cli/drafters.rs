//! What there is to draft from, opened once, and how to speculate with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{high, low_shared, low_spec, term::Term};
use crate::{
    engine::{DraftSources, Engine},
    error::Result,
    format::heads::Heads,
    hub,
    spec::{Method, Speculation, TreeChoice, TreeTemplate},
};

/// Heads, and whether the user named them.
#[derive(Clone)]
enum HeadsFrom {
    /// `--heads`.
    User(Arc<Heads>),
    /// Come with the program.
    Shipped(Arc<Heads>),
    None,
}

/// Sources of drafts.
pub(super) struct Drafters {
    documents: Vec<String>,
    datastore: Option<PathBuf>,
    model: Option<PathBuf>,
    heads: HeadsFrom,
}

impl Drafters {
    /// Opens what was named. The heads that come with the program are looked for unless `wanted`, the
    /// only methods that matter, has none that would use them.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(super) fn open(
        engine: &Engine,
        given: &low_spec::Drafting,
        wanted: &[low_spec::Spec],
        offline: bool,
        term: &Term,
    ) -> Result<Self> {
        let uses_heads =
            |spec: &low_spec::Spec| matches!(spec, low_spec::Spec::Medusa | low_spec::Spec::Auto);
        // The reference shows what is right, not what is fast.
        let by_default = wanted.is_empty() && engine.adapter().selector != "reference";
        let heads = match &given.heads {
            Some(path) if path == Path::new("none") => HeadsFrom::None,
            Some(path) => HeadsFrom::User(Arc::new(Heads::load(path)?.1)),
            None if by_default || wanted.iter().any(uses_heads) => {
                engine.shipped_heads()?.map_or(HeadsFrom::None, HeadsFrom::Shipped)
            }
            None => HeadsFrom::None,
        };
        if let HeadsFrom::Shipped(heads) = &heads {
            let n = heads.heads.len();
            term.detail(&format!("{n} draft heads come with the program for this model"));
        }
        let documents = given.documents.iter().map(|file| high::text_of(file));
        let model = given.draft_model.as_deref();
        Ok(Self {
            documents: documents.collect::<Result<_>>()?,
            datastore: given.datastore.clone(),
            model: model.map(|name| high::model_path(name, offline, term)).transpose()?,
            heads,
        })
    }

    /// Whether there are heads.
    pub(super) fn has_heads(&self) -> bool {
        !matches!(self.heads, HeadsFrom::None)
    }

    /// The method where none is named.
    fn usual(&self) -> Method {
        let sources =
            !self.documents.is_empty() || self.datastore.is_some() || self.model.is_some();
        if sources || self.has_heads() { Method::Auto } else { Method::Plain }
    }

    /// What a method gets: everything that the user named, so that what is in vain is refused, and
    /// the heads of the program only if it can use them.
    fn all_for(&self, method: Method) -> DraftSources {
        let uses_heads = matches!(method, Method::Medusa | Method::Auto);
        DraftSources {
            documents: self.documents.clone(),
            datastore: self.datastore.clone(),
            model: self.model.clone(),
            heads: match &self.heads {
                HeadsFrom::User(heads) => Some(heads.clone()),
                HeadsFrom::Shipped(heads) => uses_heads.then(|| heads.clone()),
                HeadsFrom::None => None,
            },
            heads_format: None,
            curves: curves(),
        }
    }

    /// What a method gets where several share the sources: those it looks at.
    fn some_for(&self, method: Method) -> DraftSources {
        let mixes = method == Method::Auto;
        let mut sources = self.all_for(method);
        if !mixes && method != Method::Lookup {
            sources.documents.clear();
        }
        sources.datastore = sources.datastore.filter(|_| mixes || method == Method::Rest);
        sources.model = sources.model.filter(|_| mixes || method == Method::Draft);
        sources.heads = sources.heads.filter(|_| mixes || method == Method::Medusa);
        sources
    }
}

/// Where verify curves are kept; without a home folder each process measures for itself.
pub(super) fn curves() -> Option<PathBuf> {
    hub::models_dir().ok().map(|models| models.with_file_name("curves"))
}

/// Sets up who drafts in one generation after the other; gives how to speculate.
pub(super) fn speculation(
    engine: &mut Engine,
    spec: &low_spec::Speculation,
    (model, device): (&low_shared::Model, &low_shared::Device),
    term: &Term,
) -> Result<Speculation> {
    let wanted: Vec<low_spec::Spec> = spec.spec.into_iter().collect();
    let drafters = Drafters::open(engine, &spec.drafting, &wanted, model.offline, term)?;
    let method = spec.spec.map_or_else(|| drafters.usual(), method);
    let sources = drafters.all_for(method);
    set_up(engine, method, &sources, (&spec.rounds, model, device), term)
}

/// Sets up a method that shares its sources with others; gives how to speculate.
pub(super) fn one_of_several(
    engine: &mut Engine,
    drafters: &Drafters,
    spec: low_spec::Spec,
    with: (&low_spec::Rounds, &low_shared::Model, &low_shared::Device),
    term: &Term,
) -> Result<Speculation> {
    let method = method(spec);
    set_up(engine, method, &drafters.some_for(method), with, term)
}

fn set_up(
    engine: &mut Engine,
    method: Method,
    sources: &DraftSources,
    (rounds, model, device): (&low_spec::Rounds, &low_shared::Model, &low_shared::Device),
    term: &Term,
) -> Result<Speculation> {
    let tree = match (rounds.tree.as_str(), rounds.tree.parse()) {
        ("auto", _) => TreeChoice::Auto,
        (_, Ok(nodes)) => TreeChoice::Nodes(nodes),
        (file, Err(_)) => TreeChoice::Shape(TreeTemplate::read_choices(Path::new(file))?),
    };
    let speculation = Speculation {
        // Plain decoding keeps to its own text whatever is asked of the others.
        accept: match method {
            Method::Plain => None,
            _ => rounds.accept.as_deref().map(str::parse).transpose()?,
        },
        tree,
        grow: rounds.grow,
        gate: !rounds.no_gate,
        ..Speculation::by(method)
    };
    speculation.check()?;
    for note in engine.draft_by(method, sources, &high::load_options(model, device)?)? {
        term.note(&format!("coppice: {note}"));
    }
    Ok(speculation)
}

/// The method of a word on the command line.
fn method(spec: low_spec::Spec) -> Method {
    match spec {
        low_spec::Spec::Plain => Method::Plain,
        low_spec::Spec::Medusa => Method::Medusa,
        low_spec::Spec::Lookup => Method::Lookup,
        low_spec::Spec::Rest => Method::Rest,
        low_spec::Spec::Draft => Method::Draft,
        low_spec::Spec::Auto => Method::Auto,
    }
}
