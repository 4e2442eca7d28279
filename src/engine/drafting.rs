//! Proposers made from what the user has: texts, datastores, smaller models.
//!
//! Proposers know ids only. Here is where texts become ids and where vocabularies are compared.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
};

use super::{Engine, LoadOptions, load};
use crate::{
    error::{Error, Result},
    format::{ModelSource, heads::Heads},
    model::{MAX_TREE_ROWS, Model, ModelOptions},
    quant::QuantFormat,
    spec::{
        Auto, DraftModel, DraftModelOptions, Lookup, LookupOptions, Medusa, Method, Proposer, Rest,
        RestOptions, RoundCosts, compare_vocabularies,
        datastore::{Datastore, VocabularyId},
    },
    text::{AddSpecial, ParseSpecial, Tokenizer},
};

/// What there is to draft from besides the context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftSources {
    /// Texts that answers may quote.
    pub documents: Vec<String>,
    /// Datastore file.
    pub datastore: Option<PathBuf>,
    /// File or folder of a smaller model.
    pub model: Option<PathBuf>,
    /// Heads of the model itself.
    pub heads: Option<Arc<Heads>>,
    /// Format in which their matrices are held; q8_0 if absent.
    pub heads_format: Option<QuantFormat>,
    /// Folder where what rounds take on a device is kept; measured anew each time if absent.
    pub curves: Option<PathBuf>,
}

impl DraftSources {
    /// Fails if a method lacks its source or would not look at one that was given: neither is what
    /// the user meant.
    fn check(&self, method: Method) -> Result<()> {
        let given = [
            (Source::Documents, !self.documents.is_empty()),
            (Source::Datastore, self.datastore.is_some()),
            (Source::Model, self.model.is_some()),
            (Source::Heads, self.heads.is_some()),
        ];
        let name = method.name();
        for (source, is_given) in given {
            let flag = source.flag();
            if is_given && !source.readers().contains(&method) {
                let readers: Vec<&str> = source.readers().iter().map(|m| m.name()).collect();
                return Err(Error::Invalid {
                    message: format!("--spec {name} makes no use of {flag}"),
                    hint: Some(format!("{flag} goes with --spec {}", readers.join(" or "))),
                });
            }
            if !is_given && source.needed_by() == Some(method) {
                return Err(Error::Invalid {
                    message: format!("--spec {name} needs {flag}"),
                    hint: source.hint().map(str::to_owned),
                });
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Source {
    Documents,
    Datastore,
    Model,
    Heads,
}

impl Source {
    fn flag(self) -> &'static str {
        match self {
            Self::Documents => "--documents",
            Self::Datastore => "--datastore",
            Self::Model => "--draft-model",
            Self::Heads => "--heads",
        }
    }

    fn readers(self) -> &'static [Method] {
        match self {
            Self::Documents => &[Method::Lookup, Method::Auto],
            Self::Datastore => &[Method::Rest, Method::Auto],
            Self::Model => &[Method::Draft, Method::Auto],
            Self::Heads => &[Method::Medusa, Method::Auto],
        }
    }

    fn needed_by(self) -> Option<Method> {
        match self {
            Self::Documents => None,
            Self::Datastore => Some(Method::Rest),
            Self::Model => Some(Method::Draft),
            Self::Heads => Some(Method::Medusa),
        }
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Documents => None,
            Self::Datastore => Some("make one with `coppice datastore build -o FILE TEXT...`"),
            Self::Model => Some("name a smaller model with the same vocabulary"),
            Self::Heads => Some(
                "train some with `coppice train medusa`; some come with the program for SmolLM2-135M",
            ),
        }
    }
}

impl Engine {
    /// Makes the proposer of a method from what there is and sets it; of [`Method::Auto`] one that
    /// mixes lookup, the datastore if one is given, and the heads or else the smaller model if one is. Plain decoding
    /// needs none. Gives what the user may want to know.
    ///
    /// # Errors
    /// A source that the method needs and that is not given, or is given and not used
    /// ([`Error::Invalid`]); a datastore or model of another vocabulary, naming the first
    /// difference; heads of another width or vocabulary; what opening them reports.
    pub fn draft_by(
        &mut self,
        method: Method,
        sources: &DraftSources,
        options: &LoadOptions,
    ) -> Result<Vec<String>> {
        sources.check(method)?;
        let mut notes = Vec::new();
        if let Some(heads) = &sources.heads {
            self.load_heads(heads, sources.heads_format.unwrap_or(QuantFormat::Q8_0))?;
        }
        let mut proposer: Box<dyn Proposer> = match method {
            Method::Plain => return Ok(notes),
            Method::Medusa => self.medusa(sources)?,
            Method::Lookup => self.lookup(sources)?,
            Method::Rest => self.rest(sources)?,
            Method::Draft => self.draft_model(sources, options, &mut notes)?,
            Method::Auto => {
                let mut retrieval = vec![self.lookup(sources)?];
                if sources.datastore.is_some() {
                    retrieval.push(self.rest(sources)?);
                }
                let auto = Auto::new(retrieval);
                match (&sources.heads, &sources.model) {
                    (Some(_), _) => Box::new(auto.with(self.medusa(sources)?)),
                    (None, Some(_)) => {
                        Box::new(auto.with(self.draft_model(sources, options, &mut notes)?))
                    }
                    (None, None) => Box::new(auto),
                }
            }
        };
        proposer.set_costs(&RoundCosts::of_curve(self.curve(sources.curves.as_deref())?));
        self.set_proposer(proposer);
        Ok(notes)
    }

    /// Gives the model heads, unless they are those it has.
    fn load_heads(&mut self, heads: &Arc<Heads>, format: QuantFormat) -> Result<()> {
        let same = |(has, of): &(Weak<Heads>, QuantFormat)| {
            has.upgrade().is_some_and(|has| Arc::ptr_eq(&has, heads)) && *of == format
        };
        if !self.heads.as_ref().is_some_and(same) {
            self.model.load_heads(&self.source, heads, format)?;
            self.heads = Some((Arc::downgrade(heads), format));
        }
        Ok(())
    }

    fn medusa(&mut self, sources: &DraftSources) -> Result<Box<dyn Proposer>> {
        let heads = sources.heads.as_ref().expect("checked before");
        let curve = self.curve(sources.curves.as_deref())?.clone();
        let medusa = Medusa::new(heads.heads.len(), &heads.record, curve);
        Ok(Box::new(medusa))
    }

    fn lookup(&self, sources: &DraftSources) -> Result<Box<dyn Proposer>> {
        let lookup = Lookup::new(LookupOptions::default());
        let mut documents = Vec::new();
        for text in &sources.documents {
            let ids = self.tokenizer().encode(text, AddSpecial::No, ParseSpecial::No)?;
            documents.push(ids);
        }
        if documents.iter().all(Vec::is_empty) {
            return Ok(Box::new(lookup));
        }
        let id = vocabulary_id(self.tokenizer());
        let store = Datastore::of_documents(id, documents.iter().map(Vec::as_slice))?;
        Ok(Box::new(lookup.with_documents(store)))
    }

    fn rest(&self, sources: &DraftSources) -> Result<Box<dyn Proposer>> {
        let path = sources.datastore.as_ref().expect("checked before");
        let store = Datastore::open(path)?;
        store.check_vocabulary(vocabulary_id(self.tokenizer()))?;
        Ok(Box::new(Rest::new(Arc::new(store), RestOptions::default())))
    }

    fn draft_model(
        &self,
        sources: &DraftSources,
        options: &LoadOptions,
        notes: &mut Vec<String>,
    ) -> Result<Box<dyn Proposer>> {
        let path = sources.model.as_ref().expect("checked before");
        let source = ModelSource::open(path)?;
        let tokenizer = load::tokenizer_of(&source)?;
        let more = compare_vocabularies(&pieces(self.tokenizer()), &pieces(&tokenizer));
        let more = more.map_err(|difference| Error::Model {
            model: path.display().to_string(),
            message: format!("it cannot draft for {}: {difference}", self.name()),
            hint: Some("a draft model needs the vocabulary of the model it drafts for".into()),
        })?;
        if more != 0 {
            let (who, n) = if more > 0 { ("draft model", more) } else { ("model", -more) };
            notes.push(format!("the {who} has {n} more token ids at the end; none is drafted"));
        }
        let context = source.config()?.max_context;
        if context < self.context() {
            notes.push(format!(
                "the draft model was trained on {context} tokens: behind as many nothing is drafted"
            ));
        }
        let model_options = ModelOptions {
            quant: options.quant,
            precision: load::precision(options, self.backend()),
            kv_format: options.kv,
            capacity: context.min(self.context()) + MAX_TREE_ROWS,
        };
        let model = Model::load(&source, self.backend().clone(), &model_options, &mut |_| ())?;
        Ok(Box::new(DraftModel::new(model, self.vocab(), DraftModelOptions::default())))
    }
}

/// What a datastore of a tokenizer's ids says about its vocabulary.
pub fn vocabulary_id(tokenizer: &Tokenizer) -> VocabularyId {
    let tokens = tokenizer.vocab_size() as u32;
    VocabularyId { tokens, hash: tokenizer.vocab_hash() }
}

fn pieces(tokenizer: &Tokenizer) -> Vec<&str> {
    let ids = 0..tokenizer.vocab_size() as u32;
    ids.map(|id| tokenizer.token_text(id).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::heads::{HeadKind, HeadRecord};

    #[test]
    fn sources_that_are_missing_or_in_vain_are_named() {
        let texts = DraftSources { documents: vec!["a".into()], ..DraftSources::default() };
        let store = DraftSources { datastore: Some("x".into()), ..DraftSources::default() };
        let model = DraftSources { model: Some("x".into()), ..DraftSources::default() };
        let nothing = Heads {
            kind: HeadKind::Independent,
            width: 1,
            vocab: 1,
            draft_vocab: None,
            embed_scale: 1.0,
            heads: Vec::new(),
            record: HeadRecord::default(),
        };
        let heads = DraftSources { heads: Some(Arc::new(nothing)), ..DraftSources::default() };
        let none = DraftSources::default();
        for (sources, fitting) in [
            (&texts, &[Method::Lookup, Method::Auto][..]),
            (&store, &[Method::Rest, Method::Auto]),
            (&model, &[Method::Draft, Method::Auto]),
            (&heads, &[Method::Medusa, Method::Auto]),
            (&none, &[Method::Plain, Method::Lookup, Method::Auto]),
        ] {
            for method in Method::ALL {
                assert_eq!(sources.check(method).is_ok(), fitting.contains(&method), "{method:?}");
            }
        }
        let error = none.check(Method::Rest).expect_err("no datastore").to_string();
        assert_eq!(error, "--spec rest needs --datastore");
        let error = texts.check(Method::Rest).expect_err("no use of texts").to_string();
        assert_eq!(error, "--spec rest makes no use of --documents");
    }
}
