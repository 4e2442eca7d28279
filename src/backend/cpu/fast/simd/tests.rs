//! Kernels against the oracle, and every instruction set against every other, bit for bit.

use super::{Isa, Kernel, LANES, Simd, math};
use crate::{
    backend::{Backend, BufferDesc, Usage, View, Wait, cpu::Cpu},
    dtype::DType,
    ops::{
        Activations, KvFormat, KvLayer, KvWrite, QMatMul, RowMeta, RowStats, Then, TreeAttention,
        Weight,
    },
    quant::{Layout, QuantFormat, repack},
    record::Recorder,
    shape::Shape,
};

/// Numbers in -1..1, the same on every run.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state as i32 as f32) * (1.0 / 2_147_483_648.0)
        })
        .collect()
}

/// The oracle, then the fast flavour with every instruction set and with one and three threads.
fn devices() -> Vec<(String, Box<dyn Backend>)> {
    let mut all: Vec<(String, Box<dyn Backend>)> =
        vec![("reference".into(), Box::new(Cpu::reference()))];
    for isa in Isa::available() {
        for threads in [1, 3] {
            let cpu = Cpu::fast_with(threads, isa).expect("threads start");
            all.push((format!("{isa:?} x {threads}"), Box::new(cpu)));
        }
    }
    all
}

fn view(b: &dyn Backend, dtype: DType, dims: &[usize], bytes: &[u8]) -> View {
    let shape = Shape::new(dims);
    let desc = BufferDesc {
        label: "test".into(),
        bytes: (shape.elements() * dtype.size()) as u64,
        usage: Usage::Scratch,
    };
    let view = b.alloc(&desc).and_then(|buffer| buffer.view(0, dtype, shape)).expect("fits");
    if !bytes.is_empty() {
        b.write(&view, bytes).expect("fits");
    }
    view
}

fn floats(b: &dyn Backend, dims: &[usize], x: &[f32]) -> View {
    view(b, DType::F32, dims, bytemuck::cast_slice(x))
}

fn words(b: &dyn Backend, dims: &[usize], x: &[u32]) -> View {
    view(b, DType::U32, dims, bytemuck::cast_slice(x))
}

fn run(b: &dyn Backend, recorder: Recorder, out: &View) -> Vec<u32> {
    let work = b.prepare(&recorder.finish()).expect("supported");
    let ticket = b.submit(&work, std::slice::from_ref(out)).expect("own work");
    b.finish(ticket, Wait::Park).expect("runs").to_vec(0)
}

/// Runs on all devices; checks that fast ones agree to the bit and are within `tolerance` of the
/// oracle (f32 results). Gives the fast bits.
fn agree(tolerance: f32, on: impl Fn(&dyn Backend) -> Vec<u32>) -> Vec<u32> {
    let mut results = devices().into_iter().map(|(name, b)| (name, on(&*b)));
    let (_, oracle) = results.next().expect("the oracle is first");
    let mut first: Option<Vec<u32>> = None;
    for (name, bits) in results {
        for (i, (bits, wanted)) in bits.iter().zip(&oracle).enumerate() {
            let (x, wanted) = (f32::from_bits(*bits), f32::from_bits(*wanted));
            assert!((x - wanted).abs() <= tolerance, "{name}: element {i} is {x}, wanted {wanted}");
        }
        assert!(first.as_ref().is_none_or(|first| *first == bits), "{name} differs in bits");
        first = Some(bits);
    }
    first.expect("there is a fast device")
}

fn product(
    b: &dyn Backend,
    format: QuantFormat,
    [m, n, k]: [usize; 3],
    activations: Activations,
    then: Then,
) -> Vec<u32> {
    let mut file = vec![];
    format.quantize(&noise(n * k, 7), &mut file).expect("K suits the format");
    let layout = Layout::new(format, n, k).expect("K suits the format");
    let packed = repack(&layout, &file).expect("sizes fit");
    let w = Weight { layout, data: view(b, DType::U8, &[layout.bytes], &packed) };
    let x = floats(b, &[m, k], &noise(64 * k, 3)[..m * k]);
    let y = floats(b, &[m, n], &noise(64 * n, 5)[..m * n]);
    let bias = Some(floats(b, &[n], &noise(n, 9)));
    let mut recorder = Recorder::new();
    recorder.push(QMatMul { w, x, y: y.clone(), bias, then, activations }).expect("shapes fit");
    run(b, recorder, &y)
}

#[test]
fn products_agree_in_every_format() {
    for format in QuantFormat::ALL {
        let k = format.k_multiple().max(96);
        for activations in [Activations::Q8, Activations::Q12, Activations::F32] {
            let dims = [5, 35, k];
            agree(2e-5, |b| product(b, format, dims, activations, Then::Add));
        }
    }
}

#[test]
fn a_row_has_the_same_bits_at_any_width() {
    for format in [QuantFormat::Q4_1, QuantFormat::Q6_K, QuantFormat::F16] {
        for activations in [Activations::Q8, Activations::Q12, Activations::F32] {
            let fast = Cpu::fast(2).expect("threads start");
            let of = |m| product(&fast, format, [m, 40, 512], activations, Then::Store);
            let all = of(64);
            for m in [1, 2, 3, 5, 7, 11, 16, 33] {
                assert_eq!(of(m), all[..m * 40], "{format} with {m} rows");
            }
        }
    }
}

/// Attention of three sequences' rows: a prefill row, plain rows and tree nodes, over `format`.
fn attention(b: &dyn Backend, format: KvFormat, d: usize, window: usize) -> Vec<u32> {
    const PREFIX: [u32; 5] = [1, 300, 290, 70, 0];
    const PATH: [u32; 5] = [0, 0, 10, 3, 0];
    let (pages, page_slots, g, h) = (100, 16, 2, 6);
    let slots = pages * page_slots;
    let (dtype, q8) = match format {
        KvFormat::F32 => (DType::F32, false),
        KvFormat::F16 => (DType::F16, false),
        KvFormat::Q8_0 => (DType::I8, true),
    };
    let pages_view = || view(b, dtype, &[slots, g, d], &[]);
    let scales = || q8.then(|| view(b, DType::F16, &[slots, g, d / 32], &[]));
    let cache =
        KvLayer { format, k: pages_view(), v: pages_view(), k_scale: scales(), v_scale: scales() };
    let all: Vec<u32> = (0..slots as u32).collect();
    let mut recorder = Recorder::new();
    let write = KvWrite {
        k: floats(b, &[slots, g, d], &noise(slots * g * d, 1)),
        v: floats(b, &[slots, g, d], &noise(slots * g * d, 2)),
        slots: words(b, &[slots], &all),
        cache: cache.clone(),
    };
    recorder.push(write).expect("shapes fit");
    let table: Vec<u32> = (0..2 * 24).map(|i| (i * 37) % pages as u32).collect();
    // The path of row 2 continues the table: positions 290 .. 300, so that it equals row 1.
    let slot = |p: u32| table[p as usize / page_slots] * page_slots as u32 + p % page_slots as u32;
    let mut path_slots: Vec<u32> = (0..50).map(|i| i * 3).collect();
    (0..10).for_each(|i| path_slots[20 + i] = slot(290 + i as u32));
    let q = [noise(h * d, 4), noise(h * d, 6), noise(h * d, 6), noise(h * d, 8), noise(h * d, 10)];
    let out = floats(b, &[5, h, d], &vec![9.0; 5 * h * d]);
    let op = TreeAttention {
        q: floats(b, &[5, h, d], &q.concat()),
        cache,
        table: words(b, &[2, 1, 24], &table),
        rows: RowMeta {
            seq: words(b, &[5], &[0, 0, 0, 1, 1]),
            prefix: words(b, &[5, 1], &PREFIX),
            path: words(b, &[5], &PATH),
            path_slots: words(b, &[5, 10], &path_slots),
        },
        out: out.clone(),
        scale: 0.3,
        page_slots,
        window,
        max_context: 24 * page_slots,
    };
    recorder.push(op).expect("shapes fit");
    run(b, recorder, &out)
}

#[test]
fn attention_agrees_and_a_path_equals_its_prefix() {
    for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0] {
        for (d, window) in [(32, 0), (96, 0), (32, 40)] {
            let bits = agree(1e-5, |b| attention(b, format, d, window));
            assert_eq!(bits[6 * d..12 * d], bits[12 * d..18 * d], "rows 1 and 2 see the same");
            assert!(bits[24 * d..].iter().all(|&x| x == 0), "a row that sees nothing is zero");
        }
    }
    agree(1e-5, |b| attention(b, KvFormat::F16, 20, 0));
}

#[test]
fn statistics_agree() {
    for v in [1, 16, 100, 3000] {
        let logits: Vec<f32> = noise(2 * v, 11).iter().map(|x| x * 20.0).collect();
        agree(1e-5, |b| {
            let out = words(b, &[2, 4], &[0; 8]);
            let mut recorder = Recorder::new();
            let logits = floats(b, &[2, v], &logits);
            recorder.push(RowStats { logits, out: out.clone() }).expect("shapes fit");
            let mut bits = run(b, recorder, &out);
            // Ids are compared as numbers.
            for i in [1, 5] {
                bits[i] = (bits[i] as f32).to_bits();
            }
            bits
        });
    }
}

#[test]
fn exponentials_are_close_everywhere() {
    struct Exp(f32);
    impl Kernel for Exp {
        type Output = f32;
        fn run<S: Simd>(self, s: S) -> f32 {
            math::lanes(s, math::exp(s, s.splat(self.0)))[LANES - 1]
        }
    }
    for isa in Isa::available() {
        for i in -8700..8830 {
            let x = i as f32 * 0.01 + 0.003;
            let (got, wanted) = (isa.run(Exp(x)), f64::from(x).exp());
            let error = (f64::from(got) / wanted - 1.0).abs();
            assert!(error < 2.5e-7, "{isa:?}: exp({x}) is {got}, off by {error:e}");
        }
        assert!(isa.run(Exp(f32::NAN)).is_nan());
        assert!(isa.run(Exp(f32::NEG_INFINITY)) < 2e-38);
    }
}
