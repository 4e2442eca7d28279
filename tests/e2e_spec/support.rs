//! Proposers that draft what a test wants, and runs of the driver without an engine.

use std::sync::atomic::AtomicBool;

use coppice::{
    Result,
    format::heads::{Dense, Head, HeadKind, HeadRecord, Heads, ResBlock},
    kv::Sequence,
    model::Model,
    sample::{Sampler, SamplerParams},
    spec::{
        AcceptRule, Draft, DraftContext, DraftNode, Drafting, Driver, Method, Proposal, Proposer,
        RoundOutcome, RoundStart, Source, Target, TreeTemplate,
    },
};

use crate::common::{VOCAB, ids};

/// Positions of the models of these tests.
pub const CONTEXT: usize = 192;

/// Drafts along a recorded text, each node beside wrong ones, and some of them wrong themselves.
pub struct Recorded {
    text: Vec<u32>,
    /// Of 8 guesses along the text so many are right.
    right: u32,
    /// Wrong siblings of each node.
    siblings: usize,
    depth: usize,
}

impl Recorded {
    pub fn new(text: &[u32], right: u32, siblings: usize, depth: usize) -> Self {
        Self { text: text.to_vec(), right, siblings, depth }
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
        let node = |rank: usize| DraftNode { source: Source::Lookup, rank: rank as u16, p: None };
        let mut draft = Draft::new(context.root());
        let mut parent = 0;
        for depth in 0..self.depth.min(context.max_depth) {
            let Some(&token) = self.text.get(at + depth) else { break };
            if draft.len() + self.siblings + 1 > context.max_nodes {
                break;
            }
            for rank in 0..self.siblings {
                let other = (token + 1 + rank as u32) % VOCAB as u32;
                draft.push(other, parent, node(rank));
            }
            let hit = ids(1, (at + depth) as u64)[0] % 8 < self.right;
            let token = if hit { token } else { (token + 100) % VOCAB as u32 };
            parent = draft.push(token, parent, node(self.siblings));
        }
        Ok(Proposal::Tokens(draft))
    }

    fn observe(&mut self, _: &RoundOutcome) {}
}

/// An answer, its rounds, and the cache behind it.
pub struct Answer {
    pub ids: Vec<u32>,
    pub rounds: Vec<RoundOutcome>,
    pub sequence: Sequence,
}

/// Runs the driver for so many tokens.
pub fn answer(
    model: &mut Model,
    prompt: &[u32],
    tokens: usize,
    params: &SamplerParams,
    proposer: Option<&mut dyn Proposer>,
) -> Answer {
    run(model, prompt, tokens, params, proposer.map(|proposer| (proposer, false)))
}

/// Like [`answer`]; the proposer comes with whether heads grow their trees.
pub fn run(
    model: &mut Model,
    prompt: &[u32],
    tokens: usize,
    params: &SamplerParams,
    proposer: Option<(&mut dyn Proposer, bool)>,
) -> Answer {
    let sampler = Sampler::new(params.clone()).expect("valid settings");
    let rule = AcceptRule::lossless_for(&sampler);
    let mut sequence = Sequence::new(model.pool());
    let drafting =
        proposer.map(|(proposer, grow)| Drafting { proposer, gate: None, max_nodes: 32, grow });
    let mut driver = Driver::new(drafting, sampler, rule, prompt).expect("it begins");
    let mut target = Target { model, sequence: &mut sequence };
    let no = AtomicBool::new(false);
    let row = target
        .model
        .prefill(target.sequence, prompt, driver.wants_of_prompt(), &no)
        .expect("it fits");
    let mut ids = prompt.to_vec();
    ids.push(driver.first(row.stats[0], row.logits.as_deref(), prompt));
    let mut rounds: Vec<RoundOutcome> = Vec::new();
    while ids.len() < prompt.len() + tokens {
        let max_depth = prompt.len() + tokens - ids.len() - 1;
        let start = RoundStart { ids: &ids, prompt: prompt.len(), max_depth };
        let outcome = driver.round(&mut target, start).expect("it fits");
        assert_eq!(outcome.round, rounds.len() as u64);
        assert_eq!(outcome.prefix as usize + 1, ids.len());
        assert_eq!(target.sequence.len(), outcome.prefix as usize + outcome.path.len());
        ids.extend(outcome.added());
        assert_eq!(target.sequence.ids(), &ids[..ids.len() - 1]);
        rounds.push(outcome);
    }
    Answer { ids, rounds, sequence }
}

/// Settings of the sampler that take every path through it.
pub fn settings() -> Vec<SamplerParams> {
    let of = |temperature: f32| SamplerParams { temperature, seed: 11, ..Default::default() };
    let penalties = |params: SamplerParams| SamplerParams {
        repeat_penalty: 1.3,
        presence_penalty: 0.2,
        frequency_penalty: 0.1,
        penalty_last_n: 32,
        ..params
    };
    vec![
        of(0.0),
        of(0.7),
        of(1.0),
        SamplerParams { top_p: 0.9, ..of(0.7) },
        SamplerParams { top_k: 40, min_p: 0.02, typical_p: 0.95, ..of(1.0) },
        penalties(of(0.0)),
        penalties(SamplerParams { top_p: 0.9, ..of(1.0) }),
    ]
}

/// Heads fill this shape.
pub struct Fill(pub TreeTemplate);

impl Proposer for Fill {
    fn method(&self) -> Method {
        Method::Medusa
    }

    fn begin(&mut self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn propose(&mut self, context: &DraftContext<'_>) -> Result<Proposal> {
        Ok(Proposal::Heads(self.0.cut(context.max_nodes, context.max_depth)))
    }

    fn observe(&mut self, _: &RoundOutcome) {}
}

/// Three heads, three guesses of the first, two of the others, some of them only.
pub fn bushy() -> TreeTemplate {
    let choices: [&[usize]; 9] =
        [&[0], &[1], &[2], &[0, 0], &[0, 1], &[1, 0], &[0, 0, 0], &[0, 0, 1], &[1, 0, 0]];
    TreeTemplate::from_choices(&choices.map(<[usize]>::to_vec)).expect("nine nodes")
}

/// A matrix of random numbers.
pub fn dense(rows: usize, cols: usize, seed: u64, scale: f32) -> Dense {
    let data = ids(rows * cols, seed).into_iter();
    let data = data.map(|id| scale * (id as f32 / VOCAB as f32 - 0.5)).collect();
    Dense { rows, cols, data }
}

/// A matrix of zeros.
pub fn zeros(rows: usize, cols: usize) -> Dense {
    Dense { rows, cols, data: vec![0.0; rows * cols] }
}

/// Heads of the tiny model.
pub fn set(kind: HeadKind, width: usize, heads: Vec<Head>) -> Heads {
    Heads {
        kind,
        width,
        vocab: VOCAB,
        draft_vocab: None,
        embed_scale: 1.0,
        heads,
        record: HeadRecord::default(),
    }
}

/// Heads of random weights: two blocks each, the middle one with a projection of its own.
pub fn random_heads(kind: HeadKind, d: usize) -> Heads {
    let head = |k: usize| {
        let cols = if kind == HeadKind::Sequential { (k + 2) * d } else { d };
        let seed = 50 * k as u64;
        let narrows = kind == HeadKind::Sequential || k == 2;
        let first = ResBlock {
            weight: dense(d, cols, seed + 1, 0.3),
            bias: dense(1, d, seed + 2, 0.2).data,
            residual: narrows.then(|| dense(d, cols, seed + 3, 0.3)),
        };
        let second = ResBlock {
            weight: dense(d, d, seed + 4, 0.3),
            bias: dense(1, d, seed + 5, 0.2).data,
            residual: None,
        };
        let projection = (k == 1).then(|| dense(VOCAB, d, seed + 6, 0.3));
        Head { blocks: vec![first, second], projection }
    };
    set(kind, d, (0..3).map(head).collect())
}
