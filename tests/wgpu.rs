//! What the op table does not ask of the wgpu backend: GPU kernels on a processor, slabs, counters,
//! shared buffers and errors.
#![cfg(feature = "wgpu")]

#[path = "support/noise.rs"]
mod noise;

use coppice::{
    backend::{
        Backend, BackendError, Buffer, BufferDesc, Support, Tier, Usage, View, Wait,
        cpu::Cpu,
        wgpu::{self, Options, Wgpu},
    },
    check::{self, Outcome},
    dtype::DType,
    ops::{Activations, Add, Copy, Op, QMatMul, Then, Weight},
    quant::{self, Layout, QuantFormat},
    record::Recorder,
};

/// The first adapter; without any, these tests have nothing to say and `tests/ops.rs` fails.
fn open(options: &Options) -> Option<Wgpu> {
    if wgpu::list().is_empty() {
        return None;
    }
    Some(wgpu::open(0, options).expect("a listed adapter opens"))
}

fn buffer(device: &dyn Backend, label: &str, bytes: u64) -> Buffer {
    let desc = BufferDesc { label: label.into(), bytes, usage: Usage::Scratch };
    device.alloc(&desc).expect("a small buffer fits")
}

fn floats(device: &dyn Backend, shape: [usize; 2], data: &[f32]) -> View {
    let buffer = buffer(device, "floats", 4 * data.len() as u64);
    let view = buffer.view(0, DType::F32, shape).expect("in bounds");
    device.write(&view, bytemuck::cast_slice(data)).expect("written");
    view
}

fn run(device: &dyn Backend, ops: Vec<Op>, read: &View) -> Vec<f32> {
    let mut recorder = Recorder::new();
    for op in ops {
        recorder.push(op).expect("operands fit");
    }
    let work = device.prepare(&recorder.finish()).expect("prepared");
    let ticket = device.submit(&work, std::slice::from_ref(read)).expect("submitted");
    device.finish(ticket, Wait::Park).expect("finished").to_vec(0)
}

fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect()
}

fn matmul(device: &dyn Backend, n: usize, k: usize, m: usize) -> (Op, View) {
    let layout = Layout::new(QuantFormat::Q8_0, n, k).expect("a layout");
    let mut file = Vec::new();
    QuantFormat::Q8_0.quantize(&ramp(n * k), &mut file).expect("quantised");
    let packed = quant::repack(&layout, &file).expect("repacked");
    let data = buffer(device, "w", packed.len() as u64);
    let data = data.view(0, DType::U8, [packed.len()]).expect("in bounds");
    device.write(&data, &packed).expect("written");
    let y = floats(device, [m, n], &vec![f32::NAN; m * n]);
    let op = QMatMul {
        w: Weight { layout, data },
        x: floats(device, [m, k], &ramp(m * k)),
        y: y.clone(),
        bias: None,
        then: Then::Store,
        activations: Activations::F32,
    };
    (op.into(), y)
}

#[test]
fn gpu_kernels_pass_the_op_table_on_any_adapter() {
    let options = Options { gpu_kernels: true, ..Options::default() };
    let Some(device) = open(&options) else { return };
    let reference = Cpu::reference();
    for case in check::cases() {
        let outcome = check::run(&case, &device, &reference);
        assert!(matches!(outcome, Outcome::Pass), "{}: {outcome}", case.name);
    }
}

#[test]
fn a_weight_beyond_a_binding_is_split_with_the_same_bits() {
    let small = Options { max_binding_bytes: Some(1 << 20), ..Options::default() };
    let (Some(whole), Some(split)) = (open(&Options::default()), open(&small)) else { return };
    let [n, k, m] = [3000, 1024, 3];
    let (op, y) = matmul(&split, n, k, m);
    assert_eq!(split.support(&op), Support::Split { parts: 3 });
    let got = run(&split, vec![op], &y);
    let (op, y) = matmul(&whole, n, k, m);
    assert!(matches!(whole.support(&op), Support::Native { .. }));
    assert_eq!(got, run(&whole, vec![op], &y));
    assert!(got.iter().all(|v| v.is_finite()));
}

#[test]
fn a_weight_whose_slab_exceeds_a_binding_is_refused_with_the_sizes() {
    let tiny = Options { max_binding_bytes: Some(64 << 10), ..Options::default() };
    let Some(device) = open(&tiny) else { return };
    let (op, _) = matmul(&device, 256, 1024, 1);
    let Support::No { reason } = device.support(&op) else { panic!("128 rows take 128 KiB") };
    assert!(reason.contains("131072") && reason.contains("65536"), "{reason}");
    let mut recorder = Recorder::new();
    recorder.push(op).expect("operands fit");
    let refused = device.prepare(&recorder.finish()).err();
    assert!(matches!(refused, Some(BackendError::Unsupported { .. })));
}

#[test]
fn a_replay_is_one_submission_and_one_readback() {
    let Some(device) = open(&Options::default()) else { return };
    let x = floats(&device, [4, 100], &ramp(400));
    let y = floats(&device, [4, 100], &ramp(400));
    let mut recorder = Recorder::new();
    for _ in 0..7 {
        recorder.push(Add { x: x.clone(), y: y.clone() }).expect("operands fit");
    }
    let work = device.prepare(&recorder.finish()).expect("prepared");
    let before = device.stats();
    let reads = [y.clone(), x, y];
    let ticket = device.submit(&work, &reads).expect("submitted");
    let got = device.finish(ticket, Wait::Spin(std::time::Duration::from_secs(1))).expect("done");
    let after = device.stats();
    assert_eq!(after.dispatches - before.dispatches, 7);
    assert_eq!(after.submissions - before.submissions, 1);
    assert_eq!(after.readbacks - before.readbacks, 1);
    let wanted: Vec<f32> = ramp(400).iter().map(|v| 8.0 * v).collect();
    assert_eq!(got.to_vec::<f32>(0), wanted);
    assert_eq!(got.to_vec::<f32>(1), ramp(400));
    assert_eq!(got.to_vec::<f32>(2), wanted);
}

#[test]
fn views_of_one_buffer_are_read_and_written_in_one_op() {
    for no_immediates in [false, true] {
        let options = Options { no_immediates, ..Options::default() };
        let Some(device) = open(&options) else { return };
        let rows = floats(&device, [5, 12], &ramp(60));
        let src = rows.columns(1, &[4]).expect("in bounds");
        let dst = rows.columns(7, &[4]).expect("in bounds");
        let got = run(&device, vec![Copy { src, dst }.into()], &rows);
        let mut wanted = ramp(60);
        for row in wanted.chunks_exact_mut(12) {
            row.copy_within(1..5, 7);
        }
        assert_eq!(got, wanted);
    }
}

#[test]
fn writes_are_checked_and_odd_tails_keep_their_neighbours() {
    let Some(device) = open(&Options::default()) else { return };
    let halves = buffer(&device, "halves", 10);
    let first = halves.view(0, DType::F16, [3]).expect("in bounds");
    let error = device.write(&first, &[0; 6]).expect_err("a neighbour shares the last word");
    assert!(error.to_string().contains("halves"), "{error}");
    let all = halves.view(0, DType::F16, [5]).expect("in bounds");
    device.write(&all, &[7; 10]).expect("the rest is padding");
    assert!(device.write(&all, &[7; 8]).is_err(), "a wrong size");
    let other = open(&Options::default()).expect("opened before");
    let foreign = other.write(&all, &[7; 10]);
    assert!(matches!(foreign, Err(BackendError::ForeignDevice { .. })));
}

#[test]
fn memory_is_counted_and_given_back() {
    let Some(device) = open(&Options::default()) else { return };
    let before = device.memory().allocated_bytes;
    let held = buffer(&device, "held", 1000);
    assert_eq!(device.memory().allocated_bytes - before, 1008);
    drop(held);
    assert_eq!(device.memory().allocated_bytes, before);
    assert!(device.memory().peak_bytes >= before + 1008);
    let desc = BufferDesc { label: "vast".into(), bytes: u64::MAX, usage: Usage::Scratch };
    let error = device.alloc(&desc).expect_err("no device holds that");
    assert!(matches!(&error, BackendError::TooLarge { label, .. } if label == "vast"), "{error}");
}

#[test]
fn what_an_adapter_lacks_is_an_error_with_the_selector() {
    let Some(_) = open(&Options::default()) else { return };
    let count = wgpu::list().len();
    let missing = wgpu::open(count, &Options::default()).err().expect("no such adapter");
    assert!(missing.to_string().contains(&format!("wgpu:{count}")), "{missing}");
    let best = wgpu::list()[0].tier;
    if best < Tier::Dot8 {
        let options = Options { force_tier: Some(Tier::Dot8), ..Options::default() };
        let refused = wgpu::open(0, &options).err().expect("a tier it lacks");
        assert!(refused.to_string().contains("dot8"), "{refused}");
    }
}
