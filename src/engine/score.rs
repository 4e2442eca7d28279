//! Scoring given tokens: perplexity and next-token log-probabilities.

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::Engine;
use crate::{
    error::{Error, Result},
    model::{MAX_TREE_ROWS, Want},
};

/// Perplexity of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// `exp(mean_nll)`.
    pub perplexity: f64,
    /// Mean negative log-likelihood in nats.
    pub mean_nll: f64,
    /// Standard error of the mean.
    pub stderr_nll: f64,
    /// Tokens scored.
    pub scored: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// Windows.
    pub windows: usize,
    /// Tokens of a window.
    pub window: usize,
}

/// A token with its log-probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Id.
    pub id: u32,
    /// Natural logarithm of the probability.
    pub logprob: f64,
}

impl Engine {
    /// Perplexity of `ids` in windows of `window` tokens that do not overlap. Each starts with an
    /// empty cache, and with the beginning-of-text token (counted in the window) if the model adds
    /// one; every token but a window's first is scored; a last window of fewer than two tokens is
    /// dropped.
    ///
    /// `on_window` gets the windows done, their number and the perplexity so far.
    pub fn perplexity(
        &mut self,
        ids: &[u32],
        window: usize,
        cancel: &AtomicBool,
        on_window: &mut dyn FnMut(usize, usize, f64),
    ) -> Result<Perplexity> {
        self.check_ids(ids)?;
        let bos = if self.tokenizer().adds_bos() { self.tokenizer().bos() } else { None };
        let body = window.saturating_sub(usize::from(bos.is_some()));
        if body < 1 || window < 2 || window > self.context() {
            return Err(Error::invalid(format!(
                "a window of {window} tokens; wanted 2 to the context of {}",
                self.context()
            )));
        }
        let windows: Vec<Vec<u32>> = ids
            .chunks(body)
            .map(|chunk| bos.into_iter().chain(chunk.iter().copied()).collect())
            .filter(|chunk: &Vec<u32>| chunk.len() >= 2)
            .collect();
        let (mut sum, mut squares, mut scored) = (0.0f64, 0.0f64, 0usize);
        for (i, chunk) in windows.iter().enumerate() {
            self.reset()?;
            for nll in self.nll_of_next(chunk, cancel)? {
                sum += nll;
                squares += nll * nll;
                scored += 1;
            }
            on_window(i + 1, windows.len(), (sum / scored as f64).exp());
        }
        self.reset()?;
        if scored == 0 {
            return Err(Error::invalid(format!("{} tokens leave nothing to score", ids.len())));
        }
        let mean = sum / scored as f64;
        let variance = (squares / scored as f64 - mean * mean).max(0.0);
        Ok(Perplexity {
            perplexity: mean.exp(),
            mean_nll: mean,
            stderr_nll: (variance / scored as f64).sqrt(),
            scored,
            tokens: ids.len(),
            windows: windows.len(),
            window,
        })
    }

    /// Appends a window; gives `-ln p` of each token but the first. The last token is only
    /// predicted, so it is not computed.
    fn nll_of_next(&mut self, ids: &[u32], cancel: &AtomicBool) -> Result<Vec<f64>> {
        let mut nll = Vec::with_capacity(ids.len());
        let inputs = &ids[..ids.len() - 1];
        for (i, chunk) in inputs.chunks(MAX_TREE_ROWS).enumerate() {
            let output = self.extend(chunk, Want::AllLogits, cancel)?;
            let logits = output.logits.unwrap_or_default();
            let rows = logits.chunks_exact(self.vocab());
            for (row, &next) in rows.zip(&ids[i * MAX_TREE_ROWS + 1..]) {
                nll.push(logsumexp(row) - f64::from(row[next as usize]));
            }
        }
        Ok(nll)
    }

    /// The `top` most likely next tokens after `ids`, best first, lowest id first on ties.
    pub fn next_logprobs(&mut self, ids: &[u32], top: usize) -> Result<Vec<Scored>> {
        self.check_ids(ids)?;
        self.reset()?;
        let cancel = AtomicBool::new(false);
        let logits = self.extend(ids, Want::LastLogits, &cancel)?.logits.unwrap_or_default();
        let lse = logsumexp(&logits);
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        order.truncate(top);
        let scored = order
            .into_iter()
            .map(|id| Scored { id, logprob: f64::from(logits[id as usize]) - lse });
        Ok(scored.collect())
    }
}

/// `ln sum exp(l)` in f64.
fn logsumexp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let max = f64::from(max);
    max + logits.iter().map(|&l| (f64::from(l) - max).exp()).sum::<f64>().ln()
}
