//! What a device can do at most, by kernels that do nothing else.

use std::time::Instant;

use wgpu::util::DeviceExt as _;

use super::device::Gpu;
use crate::backend::{BackendError, BackendResult, Peaks};

const COPY: &str = include_str!("../../../shaders/peaks/copy.wgsl");
const FMA: &str = include_str!("../../../shaders/peaks/fma.wgsl");
const HALF: &str = include_str!("../../../shaders/peaks/half.wgsl");
const DOT: &str = include_str!("../../../shaders/peaks/dot.wgsl");

/// Invocations of a workgroup, in all of them.
const WORKGROUP: u64 = 64;
/// Operations of an iteration and invocation of the arithmetic kernels.
const OPERATIONS: u64 = 64;
/// Bytes of each buffer: beyond the caches of most devices.
const COPY_BYTES: u64 = 64 << 20;
/// Wanted time of a measurement, in seconds.
const LONG_ENOUGH: f64 = 0.02;
/// Measurements, of which the best counts.
const TRIES: usize = 5;

/// Measures all that the device has kernels for.
pub(super) fn measure(gpu: &Gpu) -> BackendResult<Peaks> {
    let limit = gpu.caps.max_binding_bytes.min(gpu.caps.max_buffer_bytes);
    let bytes = COPY_BYTES.min(limit) / 1024 * 1024;
    let bench = Bench::new(gpu, bytes);
    let copy = bench.seconds(COPY, 1, (bytes / 16 / WORKGROUP).clamp(1, 4096) as u32)?;
    // As many invocations as the output has room for, and no more than fill a large device.
    let groups = (bytes / 16 / WORKGROUP).clamp(1, 2048) as u32;
    let arithmetic = |text: &str| -> BackendResult<f64> {
        let mut iterations = 64;
        let mut seconds = bench.seconds(text, iterations, groups)?;
        while seconds < LONG_ENOUGH && iterations < 1 << 20 {
            let more = (2.0 * LONG_ENOUGH / seconds.max(1e-6)).clamp(2.0, 64.0) as u32;
            iterations *= more;
            seconds = bench.seconds(text, iterations, groups)?;
        }
        let operations = u64::from(groups) * WORKGROUP * OPERATIONS * u64::from(iterations);
        Ok(operations as f64 / seconds / 1e9)
    };
    Ok(Peaks {
        copy_gb_s: Some(2.0 * bytes as f64 / copy / 1e9),
        f32_gflops: Some(arithmetic(FMA)?),
        f16_gflops: if gpu.caps.f16 { Some(arithmetic(HALF)?) } else { None },
        int8_gops: Some(arithmetic(DOT)?),
        matrix_gflops: None,
    })
}

/// Two buffers that all kernels share.
struct Bench<'g> {
    gpu: &'g Gpu,
    src: wgpu::Buffer,
    dst: wgpu::Buffer,
}

impl<'g> Bench<'g> {
    fn new(gpu: &'g Gpu, bytes: u64) -> Self {
        let usage = wgpu::BufferUsages::STORAGE;
        // Factors near one keep all chains finite and away from zero.
        let mut contents = vec![0u8; bytes as usize];
        for (place, value) in
            contents.chunks_exact_mut(4).zip([0.999f32; 4].into_iter().chain([0.001; 4]))
        {
            place.copy_from_slice(&value.to_le_bytes());
        }
        let src = gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("peaks.src"),
            contents: &contents,
            usage,
        });
        let dst = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("peaks.dst"),
            size: bytes,
            usage,
            mapped_at_creation: false,
        });
        Self { gpu, src, dst }
    }

    /// Best time of a dispatch, up to its end.
    fn seconds(&self, text: &str, iterations: u32, groups: u32) -> BackendResult<f64> {
        let device = &self.gpu.device;
        let failed = |message: String| BackendError::Shader {
            file: "peaks".into(),
            line: 1,
            message,
            dump: None,
        };
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("peaks"),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let constants = [("ITERATIONS", f64::from(iterations))];
        let constants = if text.contains("ITERATIONS") { &constants[..] } else { &[] };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("peaks"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                ..Default::default()
            },
            cache: None,
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(failed(error.to_string()));
        }
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("peaks"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: self.src.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: self.dst.as_entire_binding() },
            ],
        });
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            let mut encoder = device.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(groups, 1, 1);
            }
            let started = Instant::now();
            self.gpu.queue.submit([encoder.finish()]);
            device
                .poll(wgpu::PollType::wait_indefinitely())
                .map_err(|error| failed(error.to_string()))?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        Ok(best.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_parse() {
        for text in [COPY, FMA, HALF, DOT] {
            assert!(text.starts_with("// "), "a header comment");
            let parsed = naga::front::wgsl::parse_str(text);
            assert!(parsed.is_ok(), "{}", parsed.expect_err("not ok").emit_to_string(text));
        }
    }
}
