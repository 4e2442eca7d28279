//! The forward pass on a tiny model, end to end: the same bits whatever the shape of a step.

use std::sync::atomic::AtomicBool;

use coppice::{
    Error,
    kv::{KvError, Sequence},
    model::{MAX_TREE_ROWS, Model, ModelOptions, Precision, StepShape, Want},
    ops::{Activations, KvFormat},
    quant::QuantFormat,
    spec::CandidateTree,
};

mod common;

use common::{Tiny, VOCAB, devices, fast, ids, reference};

/// Every family, and a Llama in every format.
fn models() -> Vec<Tiny> {
    let mut all: Vec<Tiny> = ["qwen2", "qwen3", "gemma3"].map(Tiny::of).into();
    all.extend(QuantFormat::ALL.map(Tiny::llama));
    all.push(Tiny { v_format: QuantFormat::Q8_0, ..Tiny::llama(QuantFormat::Q4_1) });
    all
}

fn prefill(model: &mut Model, sequence: &mut Sequence, ids: &[u32], want: Want) -> Vec<f32> {
    let output = model.prefill(sequence, ids, want, &AtomicBool::new(false)).expect("it fits");
    output.logits.unwrap_or_default()
}

fn decode(model: &mut Model, sequence: &mut Sequence, id: u32) -> Vec<f32> {
    let output = model.decode(sequence, id, Want::LastLogits).expect("it fits");
    output.logits.expect("asked for")
}

/// Bits, so that a difference of zeros or NaNs shows too.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// A bushy tree of `nodes` nodes: each has about two children.
fn bushy(nodes: usize, seed: u64) -> CandidateTree {
    let mut tree = CandidateTree::new();
    for (i, token) in ids(nodes, seed).into_iter().enumerate() {
        tree.push(token, i.checked_sub(1).map(|last| last / 2));
    }
    tree
}

fn check_tree(model: &mut Model, prefix: usize, tree: &CandidateTree, name: &str) {
    let prompt = ids(prefix, 3);
    let mut sequence = Sequence::new(model.pool());
    prefill(model, &mut sequence, &prompt, Want::Nothing);
    let step = model
        .tree_step(&mut sequence, tree.tokens(), tree.parents(), Want::AllLogits)
        .expect("it fits");
    let all = step.output.logits.clone().expect("asked for");
    drop(step);
    assert_eq!(sequence.ids(), prompt, "dropping a step rolls it back");
    let mut leaves = Vec::new();
    for node in 0..tree.len() {
        if !tree.parents().contains(&Some(node)) {
            leaves.push(node);
        }
    }
    for leaf in leaves {
        for node in tree.path(leaf) {
            let alone = decode(model, &mut sequence, tree.tokens()[node]);
            assert_eq!(
                bits(&alone),
                bits(&all[node * VOCAB..][..VOCAB]),
                "{name}: node {node} of {} behind {prefix} positions differs from its path alone",
                tree.len()
            );
        }
        model.truncate(&mut sequence, prefix).expect("a prefix");
    }
}

#[test]
fn a_node_equals_plain_decoding_of_its_path() {
    for device in devices() {
        for tiny in models() {
            let mut model = tiny.load(&device, KvFormat::F32, 256);
            let name = format!("{tiny:?} on {}", device.name);
            check_tree(&mut model, 37, &bushy(7, 5), &name);
        }
        // Prefixes that end around borders of pages and of attention's chunks.
        for kv_format in [KvFormat::F32, KvFormat::F16] {
            let mut model = Tiny::of("gemma3").load(&device, kv_format, 512);
            for prefix in [1, 30, 31, 32, 33, 62, 127, 130, 254, 300] {
                let name = format!("gemma3, {} pages, {}", kv_format.name(), device.name);
                check_tree(&mut model, prefix, &bushy(6, 5), &name);
            }
        }
        let wide = Tiny { head_dim: 32, ..Tiny::of("qwen3") };
        let mut model = wide.load(&device, KvFormat::Q8_0, 256);
        check_tree(&mut model, 40, &bushy(12, 5), &format!("q8_0 pages, {}", device.name));
    }
}

#[test]
fn a_row_of_a_wide_step_equals_the_row_alone() {
    for device in devices() {
        for tiny in [Tiny::llama(QuantFormat::Q4_1), Tiny::of("gemma3")] {
            let mut model = tiny.load(&device, KvFormat::F16, 512);
            let (prompt, tokens) = (ids(45, 1), ids(MAX_TREE_ROWS, 2));
            let mut sequence = Sequence::new(model.pool());
            prefill(&mut model, &mut sequence, &prompt, Want::Nothing);
            let parents = vec![None; tokens.len()];
            let step = model
                .tree_step(&mut sequence, &tokens, &parents, Want::AllLogits)
                .expect("it fits");
            let all = step.output.logits.clone().expect("asked for");
            drop(step);
            for row in [0, 1, 31, 63] {
                let alone = decode(&mut model, &mut sequence, tokens[row]);
                model.truncate(&mut sequence, prompt.len()).expect("a prefix");
                let among = &all[row * VOCAB..][..VOCAB];
                assert_eq!(bits(&alone), bits(among), "{tiny:?} on {}, row {row}", device.name);
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for precision in [Activations::F32.into(), Activations::Q8.into(), Precision::MIXED] {
        let run = |threads| {
            let device = fast(threads, precision);
            let mut model = Tiny::llama(QuantFormat::Q4_1).load(&device, KvFormat::F16, 512);
            let mut sequence = Sequence::new(model.pool());
            let prompt = prefill(&mut model, &mut sequence, &ids(150, 3), Want::LastLogits);
            [bits(&prompt), bits(&decode(&mut model, &mut sequence, 5))]
        };
        let one = run(1);
        for threads in [2, 3] {
            assert_eq!(run(threads), one, "{threads} threads, {precision:?}");
        }
    }
}

#[test]
fn a_batch_gives_each_sequence_what_it_gets_alone() {
    let lengths = [1, 30, 31, 32, 70, 127, 128, 3, 90];
    for device in devices() {
        for tiny in [Tiny::llama(QuantFormat::Q4_1), Tiny::of("gemma3")] {
            let mut model = tiny.load(&device, KvFormat::F16, 2048);
            let start = |model: &mut Model| {
                let mut all: Vec<Sequence> = Vec::new();
                for (i, &len) in lengths.iter().enumerate() {
                    let mut sequence = Sequence::new(model.pool());
                    prefill(model, &mut sequence, &ids(len, i as u64), Want::Nothing);
                    all.push(sequence);
                }
                all
            };
            let (mut together, mut alone) = (start(&mut model), start(&mut model));
            for round in 0..5 {
                let tokens = ids(lengths.len(), 100 + round);
                let mut all: Vec<&mut Sequence> = together.iter_mut().collect();
                let output = model.batch_decode(&mut all, &tokens, Want::AllLogits);
                let output = output.expect("it fits");
                let logits = output.logits.expect("asked for");
                for (i, sequence) in alone.iter_mut().enumerate() {
                    let one = model.decode(sequence, tokens[i], Want::LastLogits).expect("it fits");
                    let name = format!("{tiny:?} on {}: round {round}, row {i}", device.name);
                    assert_eq!(one.stats[0], output.stats[i], "{name}");
                    let one = one.logits.expect("asked for");
                    assert_eq!(bits(&one), bits(&logits[i * VOCAB..][..VOCAB]), "{name}");
                    assert_eq!(sequence.ids(), together[i].ids(), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_batch_that_cannot_run_changes_nothing() {
    let mut model = Tiny::of("qwen2").load(&reference(), KvFormat::F32, 64);
    let mut full = Sequence::new(model.pool());
    prefill(&mut model, &mut full, &ids(64, 1), Want::Nothing);
    let mut empty = Sequence::new(model.pool());
    let error = model
        .batch_decode(&mut [&mut empty, &mut full], &[1, 2], Want::AllStats)
        .expect_err("there is no page left");
    assert!(matches!(error, Error::Kv(KvError::Full { .. })), "{error}");
    assert_eq!((empty.len(), full.len()), (0, 64));
    for (ids, said) in [(&[1, 2][..], "2 tokens"), (&[VOCAB as u32][..], "vocabulary")] {
        let error =
            model.batch_decode(&mut [&mut empty], ids, Want::AllStats).expect_err("ids do not fit");
        assert!(error.to_string().contains(said), "{error}");
    }
    let error = model.batch_decode(&mut [], &[], Want::Nothing).expect_err("nothing to do");
    assert!(error.to_string().contains("at least one"), "{error}");
}

#[test]
fn hidden_states_are_what_the_output_matrix_reads() {
    let tiny = Tiny::of("gemma3");
    let source = tiny.source();
    let table = source.tensor("token_embd.weight").expect("the table");
    let table: Vec<f32> = bytemuck::pod_collect_to_vec(table.bytes);
    for device in devices() {
        let mut model = tiny.load(&device, KvFormat::F32, 512);
        let prompt = ids(100, 4);
        let cancel = AtomicBool::new(false);
        let mut sequence = Sequence::new(model.pool());
        let hidden = model.prefill(&mut sequence, &prompt, Want::AllHidden, &cancel);
        let hidden = hidden.expect("it fits").hidden.expect("asked for");
        assert_eq!(hidden.len(), prompt.len() * tiny.width);
        let mut again = Sequence::new(model.pool());
        let logits = prefill(&mut model, &mut again, &prompt, Want::AllLogits);
        // 12-bit activations round the hidden state before the product.
        let bound = if device.precision.head == Activations::F32 { 1e-4 } else { 1e-3 };
        for (row, (h, l)) in hidden.chunks(tiny.width).zip(logits.chunks(VOCAB)).enumerate() {
            for (id, (w, &l)) in table.chunks(tiny.width).zip(l).enumerate().step_by(37) {
                let want: f32 = h.iter().zip(w).map(|(h, w)| h * w).sum();
                let name = &device.name;
                assert!((want - l).abs() < bound, "{name}, row {row}, id {id}: {want} {l}");
            }
        }
        let next = model.batch_decode(&mut [&mut sequence], &[7], Want::AllHidden);
        let next = next.expect("it fits").hidden.expect("asked for");
        let mut whole = Sequence::new(model.pool());
        let ids: Vec<u32> = prompt.iter().copied().chain([7]).collect();
        let output = model.prefill(&mut whole, &ids, Want::AllHidden, &cancel).expect("it fits");
        let all = output.hidden.expect("asked for");
        assert_eq!(bits(&next), bits(&all[100 * tiny.width..]), "{}", device.name);
    }
}

#[test]
fn a_step_is_recorded_as_documented() {
    let device = reference();
    let tiny = Tiny { v_format: QuantFormat::Q8_0, ..Tiny::of("gemma3") };
    let model = tiny.load(&device, KvFormat::F16, 256);
    let shape = StepShape { rows: 2, context: 256, logits: 1, sequences: 1, hidden: false };
    let recording = model.recording(shape).expect("fits").to_string();
    // The first layer and the head; the layers between differ in names and windows only.
    let shown = recording
        .lines()
        .filter(|line| ["embed", "blk.0.", "head"].iter().any(|label| line.starts_with(label)));
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_prompt_in_chunks_equals_token_by_token() {
    let device = reference();
    let mut model = Tiny::of("qwen3").load(&device, KvFormat::F32, 2048);
    let prompt = ids(530, 9);
    let mut whole = Sequence::new(model.pool());
    let last = prefill(&mut model, &mut whole, &prompt, Want::LastLogits);
    let mut rows = Sequence::new(model.pool());
    prefill(&mut model, &mut rows, &prompt[..500], Want::Nothing);
    let mut alone = Vec::new();
    for &id in &prompt[500..] {
        alone = decode(&mut model, &mut rows, id);
    }
    assert_eq!(bits(&last), bits(&alone));
}

#[test]
fn random_commits_and_rollbacks_leave_what_a_fresh_prompt_would() {
    let device = reference();
    let mut model = Tiny::of("llama").load(&device, KvFormat::F32, 1024);
    let mut sequence = Sequence::new(model.pool());
    let mut noise = ids(4000, 77).into_iter();
    let mut draw = |below: usize| noise.next().expect("enough noise") as usize % below;
    prefill(&mut model, &mut sequence, &ids(20, 4), Want::Nothing);
    for round in 0..200 {
        let tree = bushy(1 + draw(9), round);
        let step = model
            .tree_step(&mut sequence, tree.tokens(), tree.parents(), Want::Nothing)
            .expect("it fits");
        match draw(4) {
            0 => drop(step),
            _ => step.commit(&tree.path(draw(tree.len()))).expect("a path of the tree"),
        }
        if draw(12) == 0 {
            let keep = sequence.len() - draw(sequence.len().min(10));
            model.truncate(&mut sequence, keep).expect("a prefix");
        }
        if draw(20) == 0 {
            let keep = sequence.len() - draw(sequence.len().min(10));
            sequence = model.fork(&sequence, keep).expect("it fits");
        }
    }
    let after = decode(&mut model, &mut sequence, 7);
    let mut fresh = Sequence::new(model.pool());
    let want = prefill(&mut model, &mut fresh, sequence.ids(), Want::LastLogits);
    assert!(sequence.len() > 100, "{} positions say little", sequence.len());
    assert_eq!(bits(&after), bits(&want));
}

#[test]
fn published_prefixes_are_shared_and_give_the_same_logits() {
    let device = reference();
    let mut model = Tiny::of("llama").load(&device, KvFormat::F32, 256);
    let prompt = ids(100, 8);
    let mut first = Sequence::new(model.pool());
    let want = prefill(&mut model, &mut first, &prompt, Want::LastLogits);
    first.publish();
    drop(first);
    let mut second = Sequence::with_prefix(model.pool(), &prompt);
    assert_eq!(second.len(), 96, "three whole pages");
    let rest = &prompt[second.len()..];
    assert_eq!(bits(&prefill(&mut model, &mut second, rest, Want::LastLogits)), bits(&want));
}

#[test]
fn every_device_generates_the_references_tokens() {
    let reference = reference();
    for tiny in models() {
        let generate = |device: &common::Device| {
            let mut model = tiny.load(device, KvFormat::F32, 256);
            let mut sequence = Sequence::new(model.pool());
            let no = AtomicBool::new(false);
            let mut output =
                model.prefill(&mut sequence, &ids(12, 6), Want::LastStats, &no).expect("it fits");
            let mut got = Vec::new();
            while got.len() < 12 {
                let id = output.stats[0].argmax;
                got.push(id);
                output = model.decode(&mut sequence, id, Want::LastStats).expect("it fits");
            }
            got
        };
        let want = generate(&reference);
        let exact = Precision::from(Activations::F32);
        for device in devices().iter().filter(|d| d.precision == exact) {
            assert_eq!(generate(device), want, "{tiny:?} on {}", device.name);
        }
    }
}

#[test]
fn quantising_at_load_equals_a_file_in_that_format() {
    let device = reference();
    let options = |quant| ModelOptions {
        quant,
        precision: Activations::F32.into(),
        kv_format: KvFormat::F32,
        capacity: 64,
    };
    let load = |tiny: Tiny, quant| {
        Model::load(&tiny.source(), device.backend.clone(), &options(quant), &mut |_| {})
    };
    let mut at_load = load(Tiny::of("llama"), Some(QuantFormat::Q8_0)).expect("quantises");
    let mut in_file = load(Tiny::llama(QuantFormat::Q8_0), None).expect("loads");
    let mut a = Sequence::new(at_load.pool());
    let mut b = Sequence::new(in_file.pool());
    let prompt = ids(9, 2);
    assert_eq!(
        bits(&prefill(&mut at_load, &mut a, &prompt, Want::LastLogits)),
        bits(&prefill(&mut in_file, &mut b, &prompt, Want::LastLogits))
    );
    let refused = load(Tiny::llama(QuantFormat::Q8_0), Some(QuantFormat::Q4_1));
    let message = refused.err().expect("nothing to quantise").to_string();
    assert!(message.contains("none can be quantised to q4_1"), "{message}");
    let unfit = load(Tiny::of("llama"), Some(QuantFormat::Q4_K));
    let message = unfit.err().expect("64 is no multiple of 256").to_string();
    assert!(message.contains("blk.0.attn_q.weight") && message.contains("q4_k"), "{message}");
}

#[test]
fn what_cannot_be_served_is_an_error_that_names_it() {
    let device = reference();
    let mut model = Tiny::of("llama").load(&device, KvFormat::F32, 64);
    let mut sequence = Sequence::new(model.pool());
    let no = AtomicBool::new(false);
    let mut fails = |ids: &[u32]| {
        let result = model.prefill(&mut sequence, ids, Want::LastStats, &no);
        result.expect_err("cannot be served")
    };
    assert!(fails(&[]).to_string().contains("at least one token"));
    assert!(fails(&[1, VOCAB as u32]).to_string().contains("token id 512"));
    let full = fails(&[1; 65]);
    assert!(matches!(full, Error::Kv(KvError::Full { capacity: 64, .. })), "{full}");
    let cancelled = model.prefill(&mut sequence, &[1], Want::Nothing, &AtomicBool::new(true));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let wide = model.tree_step(&mut sequence, &[1; 65], &[None; 65], Want::Nothing);
    assert!(wide.err().expect("65 nodes").to_string().contains("65 nodes"));
    let other = Tiny::of("llama").load(&device, KvFormat::F32, 64);
    let mut foreign = Sequence::new(other.pool());
    let mixed = model.decode(&mut foreign, 1, Want::Nothing);
    assert!(mixed.expect_err("another cache").to_string().contains("another model's cache"));
    assert!(sequence.is_empty());
}
