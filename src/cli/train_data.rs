//! `coppice train data`: conversations of the model with itself.

use std::process::ExitCode;

use super::{high, interrupt, low_shared, low_train, progress::WorkBar, term::Term};
use crate::{
    error::{Error, Result},
    format::ModelSource,
    sample::SamplerParams,
    train::data::{Header, Job, Progress, SetWriter, Settings, write},
};

pub(super) fn main(args: &low_train::TrainData, term: &Term) -> anyhow::Result<ExitCode> {
    let jobs = jobs(args)?;
    let context = args.model.ctx.unwrap_or(CONTEXT);
    let settings = settings(args, context)?;
    let cancel = interrupt::flag()?;
    let path = high::model_path(&args.model.model, args.model.offline, term)?;
    let model = low_shared::Model { ctx: Some(context), ..args.model.clone() };
    let mut engine = high::engine_for(args.batch, &model, &args.device, term)?;
    let hash = engine.tokenizer().vocab_hash();
    let vocab = (engine.vocab(), hash.iter().map(|byte| format!("{byte:02x}")).collect());
    let sha256 = ModelSource::open(path)?.sha256();
    let header = Header::new(engine.name().to_owned(), sha256, vocab, settings.clone());
    let mut set = SetWriter::open(&args.output, &header)?;
    if !set.is_empty() {
        let (tokens, len) = (set.answer_tokens(), set.len());
        term.note(&format!("going on after {len} conversations with {tokens} tokens of answers"));
    }
    let mut bar = WorkBar::new(term);
    let result = write(
        &mut engine,
        (jobs, args.batch),
        &settings,
        (&mut set, args.tokens),
        &cancel,
        &mut |progress| bar.set(share(progress, args.tokens), || line(progress, args.tokens)),
    );
    bar.finish();
    let progress = match result {
        Err(Error::Cancelled) => {
            let (tokens, len) = (set.answer_tokens(), set.len());
            term.note(&format!(
                "stopped with {len} conversations, {tokens} tokens of answers; the same command \
                 goes on"
            ));
            return Err(Error::Cancelled.into());
        }
        result => result?,
    };
    term.note(&format!(
        "{} conversations ({} came to nothing), {} tokens of answers, {:.0} tokens/s in this run",
        progress.done,
        progress.skipped,
        progress.answer_tokens,
        progress.tokens_per_second()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Context where none is asked for: longer ones are rare in training and dear in memory.
const CONTEXT: usize = 1024;

fn jobs(args: &low_train::TrainData) -> Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Job::written(args.self_prompts, args.self_turns).collect();
    for file in &args.prompts {
        jobs.extend(Job::read(file)?);
    }
    if jobs.is_empty() {
        return Err(Error::Invalid {
            message: "there are no prompts".into(),
            hint: Some("give files with --prompts, or a number with --self-prompts".into()),
        });
    }
    if args.raw && args.self_prompts > 0 {
        return Err(Error::invalid("--self-prompts needs the chat template that --raw leaves out"));
    }
    Ok(Job::mix(jobs))
}

fn settings(args: &low_train::TrainData, context: usize) -> Result<Settings> {
    let sampler = |temperature: f32, top_p: f32| {
        let seed = args.seed;
        let params = SamplerParams { temperature, top_p, seed, ..SamplerParams::default() };
        params.check().map(|()| params)
    };
    if !(0.0..=1.0).contains(&args.greedy_share) {
        let share = args.greedy_share;
        return Err(Error::invalid(format!("--greedy-share {share}: wanted 0 to 1")));
    }
    Ok(Settings {
        sampler: sampler(args.temp, args.top_p)?,
        greedy_share: args.greedy_share,
        max_tokens: args.max_tokens,
        user_sampler: sampler(args.user_temp, args.user_top_p)?,
        user_max_tokens: args.user_tokens,
        context,
        raw: args.raw,
    })
}

fn share(progress: &Progress, tokens: Option<usize>) -> f64 {
    let of = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let jobs = of(progress.done, progress.jobs);
    tokens.map_or(jobs, |tokens| of(progress.answer_tokens, tokens).max(jobs))
}

fn line(progress: &Progress, tokens: Option<usize>) -> String {
    let left = progress
        .left(tokens)
        .map_or_else(String::new, |left| format!(", {} left", indicatif::HumanDuration(left)));
    format!(
        "{} tokens of answers in {} conversations ({} came to nothing), {:.0} tokens/s{left}",
        progress.answer_tokens,
        progress.done,
        progress.skipped,
        progress.tokens_per_second()
    )
}
