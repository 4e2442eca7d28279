//! Whether a device decodes as the reference does, and whether each way to draft leaves the text as it is:
//! on a synthetic model, so that nothing has to be fetched.

use std::sync::{Arc, atomic::AtomicBool};

use serde::{Deserialize, Serialize};

use super::{
    synthetic::{Synthetic, TemporaryFile},
    target::Target,
};
use crate::{
    engine::{DeviceSpec, DraftSources, Engine, LoadOptions, Request, vocabulary_id},
    error::Result,
    model::MAX_TREE_ROWS,
    ops::{Activations, KvFormat},
    sample::SamplerParams,
    spec::{DraftModel, DraftModelOptions, Method, Speculation, datastore::DatastoreBuilder},
};

/// Tokens that are decoded.
const TOKENS: usize = 48;

/// What came of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDone {
    /// Who drafted.
    pub method: Method,
    /// Tokens decoded.
    pub tokens: usize,
    /// Place of the first token at which plain decoding differs from the reference's.
    pub differs_from_reference: Option<usize>,
    /// Place of the first token at which the method differs from plain decoding on the device.
    pub differs_from_plain: Option<usize>,
    /// Rounds it took.
    pub rounds: usize,
    /// Drafted tokens that were kept.
    pub accepted: usize,
}

impl ModelDone {
    /// What is wrong, if anything.
    pub fn fault(&self) -> Option<String> {
        if let Some(at) = self.differs_from_reference {
            return Some(format!("token {at} of plain decoding is not the reference's"));
        }
        let at = self.differs_from_plain?;
        Some(format!("token {at} is not that of plain decoding on the same device"))
    }
}

/// Decodes plainly on the reference and on the device, and once more with `method` drafting.
///
/// # Errors
/// Those of the device and of [`Synthetic::file`].
pub fn run(target: &Target, method: Method) -> Result<ModelDone> {
    let synthetic = Synthetic::of_width(256);
    let file = synthetic.file()?;
    // Of an answer that begins with a repeated text, lookup finds something to draft.
    let prompt = synthetic.ids(12, 5).repeat(2);
    let options = |device| LoadOptions {
        device,
        threads: target.threads,
        precision: Some(Activations::F32.into()),
        quant: None,
        kv: KvFormat::F16,
        context: Some(256),
        sequences: 1,
    };
    let mut rounds = (0, 0);
    let mut decode = |engine: &mut Engine, spec: Speculation| -> Result<Vec<u32>> {
        engine.reset()?;
        rounds = (0, 0);
        let request = Request {
            prompt: prompt.clone(),
            max_tokens: Some(TOKENS),
            sampler: SamplerParams { temperature: 0.0, ..Default::default() },
            stop: Vec::new(),
            ignore_eos: true,
            spec,
        };
        let mut count = |event: crate::engine::Event<'_>| {
            if let crate::engine::Event::Round(outcome) = event {
                rounds = (rounds.0 + 1, rounds.1 + outcome.path.len() - 1);
            }
        };
        Ok(engine.generate(&request, &AtomicBool::new(false), &mut count)?.ids)
    };
    let mut reference = Engine::load(file.path(), &options(DeviceSpec::Reference))?;
    let wanted = decode(&mut reference, Speculation::default())?;
    let mut engine = Engine::load(file.path(), &options(target.device))?;
    let plain = decode(&mut engine, Speculation::default())?;
    let mut drafted = plain.clone();
    let mut store = None;
    if method != Method::Plain {
        let mixes = method == Method::Auto;
        if mixes || method == Method::Rest {
            let path = TemporaryFile::new("store");
            let mut builder = DatastoreBuilder::new(vocabulary_id(engine.tokenizer()));
            builder.document(&[&prompt[..], &wanted].concat())?;
            let mut never = |_, _| true;
            builder.write(path.path(), &mut never)?;
            store = Some(path);
        }
        let sources = DraftSources {
            documents: Vec::new(),
            datastore: store.as_ref().map(|store| store.path().into()),
            model: None,
            heads: (mixes || method == Method::Medusa).then(|| Arc::new(synthetic.heads())),
            heads_format: None,
            curves: None,
        };
        if method == Method::Draft {
            // The model itself: its drafts are right, and it always drafts, unsure as a random model is.
            let device = engine.model().backend().clone();
            let model = synthetic.load(device, KvFormat::F16, 256 + MAX_TREE_ROWS)?;
            let options = DraftModelOptions { min_p: 0.0, ..Default::default() };
            let draft = DraftModel::new(model, engine.vocab(), options);
            engine.set_proposer(Box::new(draft));
        } else {
            engine.draft_by(method, &sources, &options(target.device))?;
        }
        drafted = decode(&mut engine, Speculation { gate: false, ..Speculation::by(method) })?;
    }
    let first = |a: &[u32], b: &[u32]| {
        let differs = a.iter().zip(b).position(|(a, b)| a != b);
        differs.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
    };
    Ok(ModelDone {
        method,
        tokens: drafted.len(),
        differs_from_reference: first(&plain, &wanted),
        differs_from_plain: first(&drafted, &plain),
        rounds: rounds.0,
        accepted: rounds.1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_leaves_the_text_as_it_is_on_the_processor() {
        let target = Target { threads: Some(1), ..Target::new(DeviceSpec::Cpu) };
        for method in Method::ALL {
            let done = run(&target, method).expect("it decodes");
            assert_eq!(done.fault(), None, "{method:?}");
            assert_eq!(done.tokens, TOKENS);
            // What is drafted from the answer itself is right.
            if method == Method::Draft || method == Method::Rest {
                assert!(done.accepted > TOKENS / 4, "{done:?}");
            }
        }
    }

    #[test]
    fn differences_are_named() {
        let same = ModelDone {
            method: Method::Plain,
            tokens: 4,
            differs_from_reference: None,
            differs_from_plain: None,
            rounds: 4,
            accepted: 0,
        };
        assert_eq!(same.fault(), None);
        let other = ModelDone { differs_from_plain: Some(3), ..same };
        assert!(other.fault().is_some_and(|text| text.contains("token 3")));
    }
}
