//! What `run` and `chat` keep of their rounds: figures, and the trace of `--trace`.

use std::{path::Path, sync::Arc};

use super::term::Term;
use crate::{
    engine::Engine,
    error::{Error, Result},
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, RoundOutcome, SpecStats, Speculation, TreeChoice,
        trace::{Header, SCHEMA, TraceWriter},
    },
    text::Tokenizer,
};

/// Follows the rounds of one process.
pub(super) struct Record {
    tokenizer: Arc<Tokenizer>,
    writer: Option<TraceWriter>,
    stats: SpecStats,
    failed: Option<Error>,
}

impl Record {
    /// Begins a trace if there is a path for one.
    ///
    /// # Errors
    /// A trace file that is there already or cannot be written.
    pub(super) fn new(
        trace: Option<&Path>,
        engine: &Engine,
        sampler: &SamplerParams,
        spec: &Speculation,
    ) -> Result<Self> {
        let writer = match trace {
            Some(path) => Some(TraceWriter::create(path, &header(engine, sampler, spec)?)?),
            None => None,
        };
        let tokenizer = engine.shared_tokenizer();
        Ok(Self { tokenizer, writer, stats: SpecStats::default(), failed: None })
    }

    /// An answer begins.
    ///
    /// # Errors
    /// A trace that cannot be written.
    pub(super) fn begin(&mut self, prompt: &[u32]) -> Result<()> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.begin(prompt))
    }

    /// A round is over. A trace that fails ends there and is reported by [`Record::end`], so that
    /// the answer goes on.
    pub(super) fn round(&mut self, outcome: &RoundOutcome) {
        self.stats.add(outcome);
        let tokenizer = &self.tokenizer;
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.round(outcome, |token| tokenizer.token_bytes(token))
        {
            self.failed = Some(error);
            self.writer = None;
        }
    }

    /// An answer of so many ids is over.
    ///
    /// # Errors
    /// What went wrong with the trace meanwhile.
    pub(super) fn end(&mut self, generated: usize) -> Result<()> {
        if let Some(writer) = &mut self.writer {
            writer.end(generated);
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Figures of all rounds so far.
    pub(super) fn stats(&self) -> &SpecStats {
        &self.stats
    }

    /// Ends the trace with its summary.
    ///
    /// # Errors
    /// A trace that cannot be written.
    pub(super) fn finish(self, term: &Term) -> Result<()> {
        term.detail(&term.dim(&self.stats.summary()));
        self.writer.map_or(Ok(()), TraceWriter::finish)
    }
}

fn header(engine: &Engine, sampler: &SamplerParams, spec: &Speculation) -> Result<Header> {
    let rule = match spec.accept {
        Some(rule) => rule,
        None => AcceptRule::lossless_for(&Sampler::new(sampler.clone())?),
    };
    Ok(Header {
        schema: SCHEMA,
        coppice: env!("CARGO_PKG_VERSION").into(),
        model: engine.name().into(),
        device: engine.adapter().to_string(),
        method: spec.method,
        acceptance: rule.name().into(),
        sampler: sampler.clone(),
        tree: match &spec.tree {
            TreeChoice::Auto => None,
            TreeChoice::Nodes(nodes) => Some(format!("of {nodes} nodes")),
            TreeChoice::Shape(shape) => Some(format!("given, of {} nodes", shape.len())),
        },
    })
}
