//! `coppice perplexity`.

use std::{io::Write as _, process::ExitCode};

use serde::Serialize;

use super::{high, interrupt, low, low_shared, term::Term};
use crate::{
    engine::Perplexity,
    text::{AddSpecial, ParseSpecial},
};

/// Window where neither `--ctx` nor the model says otherwise.
const WINDOW: usize = 512;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    device: String,
    #[serde(flatten)]
    result: &'a Perplexity,
}

pub(super) fn main(args: &low::Perplexity, term: &Term) -> anyhow::Result<ExitCode> {
    let text = high::text_of(&args.file)?;
    let cancel = interrupt::flag()?;
    let window = args.model.ctx.unwrap_or(WINDOW);
    let model = low_shared::Model { ctx: Some(window), ..args.model.clone() };
    let mut engine = high::engine(&model, &args.device, term)?;
    let mut ids = engine.tokenizer().encode(&text, AddSpecial::No, ParseSpecial::No)?;
    if let Some(most) = args.tokens {
        ids.truncate(most);
    }
    let result = engine.perplexity(&ids, window, &cancel, &mut |done, all, so_far| {
        term.detail(&format!("window {done} of {all}: perplexity so far {so_far:.4}"));
    })?;
    let mut stdout = std::io::stdout();
    if args.json {
        let report = Report {
            schema: 1,
            model: engine.name(),
            device: engine.adapter().to_string(),
            result: &result,
        };
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(
            stdout,
            "perplexity {:.4} (mean NLL {:.5} ± {:.5} nats, {} tokens scored in {} windows of {})",
            result.perplexity,
            result.mean_nll,
            result.stderr_nll,
            result.scored,
            result.windows,
            result.window
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
