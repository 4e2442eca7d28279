//! Recordings resolved to pipelines, bind groups and grids, so that a replay only encodes.

use std::sync::Arc;

use super::{
    caps::IMMEDIATE_BYTES,
    device::Gpu,
    kernels::{self, Dispatch},
    memory::DeviceMemory,
    pipeline::{Key, Pipeline},
};
use crate::{
    backend::{BackendError, BackendResult},
    error::Site,
    record::{Node, Recording},
};

/// Distance of parameter slices in the uniform arena: the strictest dynamic offset of WebGPU.
const PARAMS_STRIDE: usize = 256;

struct Step {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    params: Vec<u8>,
    grid: [u32; 3],
}

/// A prepared recording.
pub(super) struct Replay {
    steps: Vec<Step>,
    /// Uniform arena with the parameters of all steps, where there are no immediates.
    arena: Option<wgpu::BindGroup>,
    /// Op and origin of the first step, for errors that cannot be told apart within a submission.
    pub(super) first: Option<(String, Site)>,
}

impl Replay {
    /// Chooses, compiles and binds. Errors name the op and where it was recorded.
    pub(super) fn new(gpu: &Gpu, recording: &Recording) -> BackendResult<Self> {
        let mut planned = Vec::new();
        for node in &recording.nodes {
            for operand in node.op.operands() {
                operand.view.buffer.memory::<DeviceMemory>(gpu.id, &gpu.name)?;
            }
            let dispatches =
                kernels::plan(&node.op, &gpu.caps).map_err(|reason| BackendError::Unsupported {
                    op: node.op.to_string(),
                    adapter: gpu.name.clone(),
                    reason,
                })?;
            planned.extend(dispatches.into_iter().map(|d| (node, Key::of(&d), d)));
        }
        gpu.compile_missing(planned.iter().map(|(_, key, _)| key))?;
        let mut steps = Vec::with_capacity(planned.len());
        for (node, key, dispatch) in planned {
            steps.push(step(gpu, node, &key, dispatch)?);
        }
        let arena = match &gpu.pipelines.params_layout {
            Some(layout) if !steps.is_empty() => Some(arena(gpu, layout, &steps)),
            _ => None,
        };
        let first = recording.nodes.first().map(|n| (n.op.to_string(), n.site));
        Ok(Self { steps, arena, first })
    }

    /// Dispatches of one replay.
    pub(super) fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// Encodes one compute pass.
    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.steps.is_empty() {
            return;
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("recording"),
            timestamp_writes: None,
        });
        let mut current: Option<&Arc<Pipeline>> = None;
        for (i, step) in self.steps.iter().enumerate() {
            if !current.is_some_and(|p| Arc::ptr_eq(p, &step.pipeline)) {
                pass.set_pipeline(&step.pipeline.pipeline);
                current = Some(&step.pipeline);
            }
            pass.set_bind_group(0, &step.group, &[]);
            match &self.arena {
                Some(arena) => pass.set_bind_group(1, arena, &[(i * PARAMS_STRIDE) as u32]),
                None => pass.set_immediates(0, &step.params),
            }
            let [x, y, z] = step.grid;
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

fn step(gpu: &Gpu, node: &Node, key: &Key, dispatch: Dispatch) -> BackendResult<Step> {
    let failed = |message: String| BackendError::Device {
        op: node.op.to_string(),
        adapter: gpu.name.clone(),
        site: node.site,
        message,
    };
    let pipeline = gpu.pipelines.get(key)?;
    let mut entries = Vec::with_capacity(pipeline.bindings.len());
    for binding in &pipeline.bindings {
        let bound = dispatch.bindings.iter().find(|b| b.name == binding.name).ok_or_else(|| {
            failed(format!("binding `{}` of its shader is not bound", binding.name))
        })?;
        let memory: &DeviceMemory = bound.buffer.memory(gpu.id, &gpu.name)?;
        entries.push(wgpu::BindGroupEntry {
            binding: binding.index,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &memory.buffer,
                offset: bound.start,
                size: wgpu::BufferSize::new(bound.bytes),
            }),
        });
    }
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&node.label),
        layout: &pipeline.layout,
        entries: &entries,
    });
    if let Some(error) = pollster::block_on(scope.pop()) {
        return Err(failed(error.to_string()));
    }
    // Immediates are set whole: the pipeline layout declares all of them.
    let mut params = dispatch.params;
    params.resize(IMMEDIATE_BYTES as usize, 0);
    Ok(Step { pipeline, group, params, grid: dispatch.grid })
}

fn arena(gpu: &Gpu, layout: &wgpu::BindGroupLayout, steps: &[Step]) -> wgpu::BindGroup {
    let mut bytes = vec![0; steps.len() * PARAMS_STRIDE];
    for (slice, step) in bytes.chunks_exact_mut(PARAMS_STRIDE).zip(steps) {
        slice[..step.params.len()].copy_from_slice(&step.params);
    }
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 0, &bytes);
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("params"),
        layout,
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffer,
                offset: 0,
                size: wgpu::BufferSize::new(u64::from(IMMEDIATE_BYTES)),
            }),
        }],
    })
}
