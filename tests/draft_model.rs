//! A small model that drafts for another, on a tiny model: what it drafts and how its cache follows.

#[path = "common/mod.rs"]
mod common;

use std::sync::atomic::AtomicBool;

use common::{Device, Tiny, VOCAB, devices, ids, reference};
use coppice::{
    kv::Sequence,
    model::{Model, Want},
    ops::KvFormat,
    quant::QuantFormat,
    spec::{
        Draft, DraftContext, DraftModel, DraftModelOptions, Method, NodeOutcome, Proposal,
        Proposer, RoundOutcome, Source, StageTimes, Verdict,
    },
};

const CAPACITY: usize = 256;

fn model(device: &Device) -> Model {
    Tiny::llama(QuantFormat::Q8_0).load(device, KvFormat::F32, CAPACITY)
}

fn options(width: usize) -> DraftModelOptions {
    DraftModelOptions { min_p: 0.0, width }
}

/// What the model says greedily behind a prompt.
fn greedy(device: &Device, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut model = model(device);
    let mut sequence = Sequence::new(model.pool());
    let never = AtomicBool::new(false);
    let output = model.prefill(&mut sequence, prompt, Want::LastStats, &never).expect("room");
    let mut said = vec![output.stats[0].argmax];
    while said.len() < count {
        let last = said[said.len() - 1];
        let output = model.decode(&mut sequence, last, Want::LastStats).expect("room");
        said.push(output.stats[0].argmax);
    }
    said
}

fn drafted(proposer: &mut DraftModel, ids: &[u32], (nodes, depth): (usize, usize)) -> Draft {
    let context = DraftContext { ids, prompt: 1, max_nodes: nodes, max_depth: depth };
    match proposer.propose(&context).expect("the reference runs all") {
        Proposal::Tokens(draft) => draft,
        Proposal::Heads(_) => panic!("a draft model knows its tokens"),
    }
}

/// The round in which the target kept the nodes of `path` and chose `bonus`.
fn outcome(draft: &Draft, path: &[u32], bonus: u32) -> RoundOutcome {
    let tree = draft.tree();
    let nodes = (0..draft.len()).map(|n| NodeOutcome {
        token: tree.tokens()[n],
        parent: tree.parents()[n].map(|parent| parent as u32),
        depth: tree.depth(n) as u32,
        source: draft.nodes()[n].source,
        rank: draft.nodes()[n].rank,
        draft_p: draft.nodes()[n].p,
        target_p: None,
        entropy: None,
        threshold: None,
        verdict: if n == 0 { Verdict::Root } else { Verdict::Unreached },
    });
    RoundOutcome {
        round: 0,
        prefix: 0,
        method: Method::Draft,
        nodes: nodes.collect(),
        path: path.to_vec(),
        bonus,
        expected: None,
        times: StageTimes::default(),
    }
}

#[test]
fn a_chain_is_what_the_model_would_say_however_rounds_went() {
    for device in devices() {
        follows_on(&device);
    }
}

fn follows_on(device: &Device) {
    let prompt = ids(20, 3);
    let mut proposer = DraftModel::new(model(device), VOCAB, options(1));
    proposer.begin(&prompt).expect("nothing to do");
    let mut all = prompt.clone();
    // Rounds that keep all, some and none of the draft, and a root of the target's own mind.
    for (keep, bonus) in [(5, None), (2, Some(77)), (0, Some(401)), (5, None)] {
        let draft = drafted(&mut proposer, &all, (6, 5));
        let wanted = greedy(device, &all, 6);
        assert_eq!(draft.tree().tokens()[1..], wanted[..5], "{} behind {}", device.name, all.len());
        assert!(draft.nodes()[1..].iter().all(|node| node.source == Source::Draft));
        let bonus = bonus.unwrap_or(wanted[5]);
        let path: Vec<u32> = (0..=keep).collect();
        proposer.observe(&outcome(&draft, &path, bonus));
        all.extend(&wanted[..keep as usize]);
        all.push(bonus);
    }
    // Another prompt, which shares its beginning.
    let other = [&prompt[..12], &ids(9, 8)].concat();
    proposer.begin(&other).expect("nothing to do");
    let draft = drafted(&mut proposer, &other, (4, 3));
    assert_eq!(draft.tree().tokens()[1..], greedy(device, &other, 3)[..]);
}

#[test]
fn a_tree_holds_the_chain_and_leaves_beside_it() {
    let prompt = ids(20, 5);
    let mut proposer = DraftModel::new(model(&reference()), VOCAB, options(3));
    let draft = drafted(&mut proposer, &prompt, (64, 4));
    assert_eq!(draft.len(), 1 + 3 * 4);
    let tree = draft.tree();
    let (mut at, chain) = (0, greedy(&reference(), &prompt, 4));
    for token in chain {
        let children: Vec<usize> =
            (1..draft.len()).filter(|&n| tree.parents()[n] == Some(at)).collect();
        assert_eq!(children.len(), 3);
        let best = tree.child(Some(at), token).expect("the chain goes on");
        assert_eq!(draft.nodes()[best].rank, 0);
        at = best;
    }
    let mut reached = vec![1.0f32; draft.len()];
    for n in 1..draft.len() {
        let parent = tree.parents()[n].expect("not the root");
        reached[n] = reached[parent] * draft.nodes()[n].p.expect("a model has probabilities");
    }
    assert!(reached.windows(2).all(|w| w[0] >= w[1]), "likeliest first: {reached:?}");
}

#[test]
fn drafting_stops_below_the_threshold_and_where_nothing_fits() {
    let prompt = ids(20, 7);
    let mut unsure =
        DraftModel::new(model(&reference()), VOCAB, DraftModelOptions { min_p: 0.999, width: 1 });
    assert_eq!(drafted(&mut unsure, &prompt, (16, 15)).len(), 1, "random weights are unsure");
    let mut proposer = DraftModel::new(model(&reference()), VOCAB, options(1));
    assert_eq!(drafted(&mut proposer, &prompt, (1, 15)).len(), 1, "no node");
    assert_eq!(drafted(&mut proposer, &prompt, (16, 0)).len(), 1, "no depth");
    assert_eq!(drafted(&mut proposer, &ids(CAPACITY, 1), (16, 15)).len(), 1, "cache full");
    assert_eq!(drafted(&mut proposer, &ids(CAPACITY - 3, 1), (16, 15)).len(), 1 + 3, "almost");
    let unknown = [&prompt[..], &[VOCAB as u32]].concat();
    assert_eq!(drafted(&mut proposer, &unknown, (16, 15)).len(), 1, "an id only the target has");
    // A target that lacks the id that the model would say.
    let said = greedy(&reference(), &prompt, 1)[0] as usize;
    let mut proposer = DraftModel::new(model(&reference()), said, options(1));
    assert_eq!(drafted(&mut proposer, &prompt, (16, 15)).len(), 1, "an id only the model has");
}
