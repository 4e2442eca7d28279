//! Models of random weights that the device draws itself: big shapes are timed without their files, and
//! no byte of a matrix crosses the bus.
//!
//! Codes are random bits. Scales are constants that make weights of variance `1 / K` and, where the format
//! can, mean zero: activations stay finite, and kernels do the work that they do on real weights.

use half::{bf16, f16};

use super::{
    Model,
    config::ModelConfig,
    load::{ModelOptions, estimate},
    plan::{LinearPlan, Plan},
    weights::{self, Linear, Part, Vectors, Weights},
};
use crate::{
    backend::{Backend, BufferDesc, SharedBackend, Usage, Wait},
    dtype::DType,
    error::{Error, Result},
    ops::{Fill, RandomBits, Weight},
    quant::{Layout, PlaneRole, QuantFormat},
    record::Recorder,
};

/// Words of a row that one op fills, and rows: 64 MiB, within every limit of a binding.
const ROW_WORDS: usize = 1 << 12;
const ROWS: usize = 1 << 12;
/// Scale and minimum that the blocks of a super-block have as codes.
const STEPS: u32 = 8;

impl Model {
    /// A model of random weights, all its matrices in `format`, drawn by the device from `seed`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the format cannot hold rows of the model's widths or the device says that it has not
    /// enough free memory, and those of the device.
    pub fn synthetic(
        config: ModelConfig,
        format: QuantFormat,
        seed: u64,
        backend: SharedBackend,
        options: &ModelOptions,
    ) -> Result<Self> {
        let plan = Plan::uniform(&config, format)?;
        let need = estimate(&config, &plan, options)?;
        if let Some(free) = backend.free_memory()
            && need.total_bytes() > free
        {
            return Err(Error::Invalid {
                message: format!(
                    "the model needs {:.2} GB ({:.2} GB of weights in {format}, {:.2} GB of cache, {:.2} GB \
                     of activations), but {} has {:.2} GB free",
                    need.total_bytes() as f64 / 1e9,
                    need.weights_bytes as f64 / 1e9,
                    need.kv_bytes as f64 / 1e9,
                    need.scratch_bytes as f64 / 1e9,
                    backend.adapter().name,
                    free as f64 / 1e9,
                ),
                hint: Some(
                    "choose a smaller --synthetic, a smaller --quant such as q4_k, or a shorter --ctx"
                        .into(),
                ),
            });
        }
        let device = &*backend;
        let weights = draw(&config, &plan, (device, options.slots()), seed)?;
        Self::assemble(config, backend, weights, options)
    }
}

/// Draws all matrices; norms are ones.
fn draw(
    config: &ModelConfig,
    plan: &Plan,
    (backend, positions): (&dyn Backend, usize),
    seed: u64,
) -> Result<Weights> {
    let vectors = Vectors::ones(config, backend)?;
    let mut seeds = seed..;
    let mut linear = |plan: &LinearPlan| {
        let parts = plan.parts.iter().map(|part| {
            let seed = seeds.next().expect("seeds do not end");
            let weight = weight(backend, &part.tensors[0], part.layout, seed)?;
            Ok(Part { weight, first: part.first, bias: None })
        });
        Ok::<_, Error>(Linear { parts: parts.collect::<Result<_>>()?, n: plan.n })
    };
    weights::assemble((config, plan), (backend, positions), &vectors, &mut linear)
}

/// A packed weight of random codes.
fn weight(backend: &dyn Backend, label: &str, layout: Layout, seed: u64) -> Result<Weight> {
    let desc =
        BufferDesc { label: label.into(), bytes: layout.bytes as u64, usage: Usage::Weights };
    let buffer = backend.alloc(&desc)?;
    let mut recorder = Recorder::new();
    recorder.label(label);
    // The seed of each op is its own: a key of Philox is as good as any other.
    let mut op_seed = seed << 24;
    for plane in layout.planes() {
        let Words { bits, keep } = words(layout.format, plane.role, layout.k);
        let mut left = plane.bytes / 4;
        let mut at = plane.offset as u64;
        while left > 0 {
            let (rows, width) = if left < ROW_WORDS {
                (1, left)
            } else {
                ((left / ROW_WORDS).min(ROWS), ROW_WORDS)
            };
            let dst = buffer.view(at, DType::U32, [rows, width])?;
            let random = (keep != 0).then_some(RandomBits { seed: op_seed, keep });
            recorder.push(Fill { dst, bits, random })?;
            op_seed += 1;
            left -= rows * width;
            at += 4 * (rows * width) as u64;
        }
    }
    let work = backend.prepare(&recorder.finish())?;
    backend.finish(backend.submit(&work, &[])?, Wait::Park)?;
    let data = buffer.view(0, DType::U8, [layout.bytes])?;
    Ok(Weight { layout, data })
}

/// What the words of a plane are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words {
    bits: u32,
    keep: u32,
}

/// Words of a plane of a weight with `k` inputs.
fn words(format: QuantFormat, role: PlaneRole, k: usize) -> Words {
    use QuantFormat as F;
    let random = Words { bits: 0, keep: u32::MAX };
    let constant = |bits: u32| Words { bits, keep: 0 };
    let twice = |half: u16| u32::from(half) << 16 | u32::from(half);
    let wanted = (1.0 / k as f32).sqrt();
    // Random sign and mantissa: magnitudes from 2^e to 2^(e + 1), whose root mean square is 1.53 2^e.
    let power = f32::exp2((wanted / 1.53).log2().round());
    match (format, role) {
        (F::F32, _) => return Words { bits: power.to_bits(), keep: 0x807f_ffff },
        (F::F16, _) => {
            return Words { bits: twice(f16::from_f32(power).to_bits()), keep: 0x83ff_83ff };
        }
        (F::BF16, _) => {
            return Words { bits: twice(bf16::from_f32(power).to_bits()), keep: 0x807f_807f };
        }
        (_, PlaneRole::Codes | PlaneRole::High) => return random,
        (_, PlaneRole::Scales | PlaneRole::Supers) => {}
    }
    let codes = f32::exp2(match format {
        F::Q2_K => 2.0,
        F::Q3_K => 3.0,
        F::Q4_0 | F::Q4_1 | F::Q4_K => 4.0,
        F::Q5_0 | F::Q5_1 | F::Q5_K => 5.0,
        F::Q6_K => 6.0,
        F::Q8_0 | F::F32 | F::F16 | F::BF16 => 8.0,
    });
    // Standard deviation and mean of whole numbers from 0 to `codes` - 1.
    let (deviation, mean) = ((codes * codes - 1.0).sqrt() / 12f32.sqrt(), (codes - 1.0) / 2.0);
    let scale = wanted / deviation;
    let half = |x: f32| f16::from_f32(x).to_bits();
    let pair = |low: f32, high: f32| u32::from(half(high)) << 16 | u32::from(half(low));
    let step = STEPS as f32;
    constant(match (format, role) {
        (F::Q4_1 | F::Q5_1, _) => pair(scale, -mean * scale),
        (F::Q8_0 | F::Q4_0 | F::Q5_0 | F::F32 | F::F16 | F::BF16, _) => twice(half(scale)),
        // scale and minimum of a block in one byte, or in one each
        (F::Q2_K, PlaneRole::Scales) => 0x1111_1111 * STEPS,
        (_, PlaneRole::Scales) => 0x0101_0101 * STEPS,
        (F::Q2_K | F::Q4_K | F::Q5_K, _) => pair(scale / step, mean * scale / step),
        (F::Q3_K | F::Q6_K, _) => twice(half(scale / step)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::cpu::Cpu,
        kv::Sequence,
        model::{Precision, Published, Want},
        ops::{Activations, Embed, KvFormat},
        shape::Shape,
    };

    /// Rows of a drawn weight as floats, by the op that reads tables.
    fn rows(device: &dyn Backend, w: &Weight, count: usize) -> Vec<f32> {
        let buffer = |bytes: usize| {
            let desc =
                BufferDesc { label: "test".into(), bytes: bytes as u64, usage: Usage::Scratch };
            device.alloc(&desc).expect("there is memory")
        };
        let ids = buffer(4 * count).view(0, DType::U32, [count]).expect("it fits");
        let words: Vec<u32> = (0..count as u32).collect();
        device.write(&ids, bytemuck::cast_slice(&words)).expect("it fits");
        let shape = Shape::new(&[count, w.layout.k]);
        let out = buffer(4 * count * w.layout.k).view(0, DType::F32, shape).expect("it fits");
        let mut recorder = Recorder::new();
        recorder
            .push(Embed { ids, table: w.clone(), out: out.clone(), scale: 1.0 })
            .expect("operands fit");
        let work = device.prepare(&recorder.finish()).expect("it can be prepared");
        let ticket = device.submit(&work, std::slice::from_ref(&out)).expect("it runs");
        device.finish(ticket, Wait::Park).expect("it ends").to_vec(0)
    }

    #[test]
    fn weights_have_the_wanted_variance() {
        let device = Cpu::reference();
        for format in QuantFormat::ALL {
            let layout = Layout::new(format, 64, 1024).expect("whole super-blocks");
            let w = weight(&device, "w", layout, 5).expect("there is memory");
            let values = rows(&device, &w, 64);
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let deviation = (values.iter().map(|x| x * x).sum::<f32>() / n).sqrt();
            let wanted = 1.0 / 32.0;
            let ratio = deviation / wanted;
            assert!((0.6..1.6).contains(&ratio), "{format}: deviation {deviation}");
            // codes around a fixed centre have a mean of half a step
            assert!(mean.abs() < 0.5 * wanted, "{format}: mean {mean}");
            assert_ne!(values[..1024], values[1024..2048], "{format}");
            let other = weight(&device, "w", layout, 6).expect("there is memory");
            assert_ne!(values, rows(&device, &other, 64), "{format}");
        }
    }

    #[test]
    fn a_synthetic_model_runs() {
        let shape: Published = "llama-68m".parse().expect("it is in the list");
        let config =
            ModelConfig { n_layers: 1, vocab: 512, windowed: vec![false], ..shape.config() };
        let options = ModelOptions {
            quant: None,
            precision: Precision::uniform(Activations::Q8),
            kv_format: KvFormat::F16,
            capacity: 64,
        };
        let device: SharedBackend =
            std::sync::Arc::new(Cpu::fast(1).expect("the processor is there"));
        let mut model = Model::synthetic(config, QuantFormat::Q4_K, 1, device, &options)
            .expect("there is memory");
        let mut sequence = Sequence::new(model.pool());
        let output = model.decode(&mut sequence, 3, Want::AllStats).expect("it runs");
        let row = output.stats[0];
        assert!(row.max.is_finite() && row.entropy > 1.0 && row.entropy < 7.0, "{row:?}");
    }

    #[test]
    fn unfit_formats_are_refused_with_numbers() {
        let shape: Published = "smollm2-135m".parse().expect("it is in the list");
        let refused = Plan::uniform(&shape.config(), QuantFormat::Q4_K).expect_err("576 inputs");
        assert!(refused.to_string().contains("576") && refused.to_string().contains("256"));
    }
}
