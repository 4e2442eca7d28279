//! `coppice heads calibrate`: how often guesses are right, and behind which.

use std::{process::ExitCode, sync::Arc};

use super::{
    drafters, heads::precision, high, interrupt, low_files, progress::WorkBar, term::Term,
};
use crate::{
    engine::{DraftSources, Event, Request},
    error::{Error, Result},
    format::heads::Heads,
    sample::SamplerParams,
    spec::{MAX_NODES, Method, Speculation, TreeChoice, policy::HeadAccuracy},
    train::data::DataSet,
};

pub(super) fn main(args: &low_files::CalibrateHeads, term: &Term) -> anyhow::Result<ExitCode> {
    let cancel = interrupt::flag()?;
    let (_, heads) = Heads::load(&args.file)?;
    let mut heads = Arc::new(heads);
    let prompts = prompts(args)?;
    let mut engine = high::engine(&args.model, &args.device, term)?;
    let sources = DraftSources {
        heads: Some(heads.clone()),
        curves: drafters::curves(),
        ..DraftSources::default()
    };
    engine.draft_by(Method::Medusa, &sources, &high::load_options(&args.model, &args.device)?)?;
    drop(sources);
    let spec = Speculation {
        gate: false,
        tree: TreeChoice::Nodes(MAX_NODES),
        ..Speculation::by(Method::Medusa)
    };
    let (mut seen, mut rounds, mut tokens) = (HeadAccuracy::new(), 0, 0);
    let mut bar = WorkBar::new(term);
    for (done, prompt) in prompts.iter().enumerate() {
        if rounds >= args.rounds {
            break;
        }
        if prompt.len() + args.max_tokens > engine.context() {
            continue;
        }
        let request = Request {
            prompt: prompt.clone(),
            max_tokens: Some(args.max_tokens),
            sampler: SamplerParams::default(),
            stop: Vec::new(),
            ignore_eos: false,
            spec: spec.clone(),
        };
        engine.generate(&request, &cancel, &mut |event| {
            if let Event::Round(round) = event
                && round.drafted() > 0
            {
                seen.observe(round);
                rounds += 1;
                tokens += round.tokens();
            }
        })?;
        if cancel.load(std::sync::atomic::Ordering::Relaxed) {
            bar.finish();
            return Err(Error::Cancelled.into());
        }
        let share = (rounds as f64 / args.rounds as f64).max(done as f64 / prompts.len() as f64);
        bar.set(share, || format!("{rounds} rounds"));
    }
    bar.finish();
    if rounds == 0 {
        return Err(Error::invalid("no round drafted anything, so nothing was counted").into());
    }
    let calibrated = Arc::make_mut(&mut heads);
    calibrated.record.paths = seen.whole_paths();
    calibrated.save(&args.output, precision(args.store))?;
    term.note(&format!(
        "{rounds} rounds of {MAX_NODES} nodes gave {:.2} tokens each; written to {}",
        tokens as f64 / rounds as f64,
        args.output.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Prompts of the conversations that were held out, up to the first answer.
fn prompts(args: &low_files::CalibrateHeads) -> Result<Vec<Vec<u32>>> {
    let mut prompts = Vec::new();
    for dir in &args.data {
        let set = DataSet::open(dir)?;
        let held_out = set.records.iter().filter(|record| record.is_held_out(args.held_out));
        let prompt = |answers: &[[usize; 2]]| answers.first().map(|&[start, _]| start);
        prompts.extend(held_out.filter_map(|record| {
            prompt(&record.answers).filter(|&start| start > 0).map(|n| record.ids[..n].to_vec())
        }));
    }
    if prompts.is_empty() {
        return Err(Error::Invalid {
            message: format!("no conversation is held out at a share of {}", args.held_out),
            hint: Some("raise --held-out, or name more folders with --data".into()),
        });
    }
    Ok(prompts)
}
