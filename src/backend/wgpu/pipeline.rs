//! Compute pipelines by variant, compiled when first needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    caps::{Caps, IMMEDIATE_BYTES},
    kernels::Dispatch,
    shader::{self, Binding, Defines, Expanded, Mutation},
};
use crate::backend::{BackendError, BackendResult};

/// What makes a pipeline: shader, defines and `override` values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    shader: &'static str,
    defines: Defines,
    constants: Vec<(&'static str, u64)>,
}

impl Key {
    pub(super) fn of(dispatch: &Dispatch) -> Self {
        Self {
            shader: dispatch.shader,
            defines: dispatch.defines.clone(),
            constants: dispatch.constants.iter().map(|(n, v)| (*n, v.to_bits())).collect(),
        }
    }

    /// For people: `qmatmul Q4_1 COLS=4u WG=8`.
    fn text(&self) -> String {
        let mut text = self.shader.to_string();
        for (name, value) in &self.defines {
            text.push(' ');
            text.push_str(name);
            if !value.is_empty() {
                text.push('=');
                text.push_str(value);
            }
        }
        for (name, bits) in &self.constants {
            text.push_str(&format!(" {name}={}", f64::from_bits(*bits)));
        }
        text
    }
}

/// A compiled variant and what it binds.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub bindings: Vec<Binding>,
}

/// Whether naga adds its run-time checks to shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShaderChecks {
    /// Bounds of every access and of every loop.
    On,
    /// None: loops and indices of our kernels are bounded by their parameters.
    Off,
}

/// All pipelines of a device.
pub(super) struct Pipelines {
    device: wgpu::Device,
    adapter: String,
    checks: ShaderChecks,
    mutation: Option<Mutation>,
    immediates: bool,
    /// Layout of the uniform slice with parameters, where there are no immediates.
    pub(super) params_layout: Option<wgpu::BindGroupLayout>,
    ready: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

impl Pipelines {
    pub(super) fn new(
        device: wgpu::Device,
        adapter: String,
        caps: &Caps,
        checks: ShaderChecks,
        mutation: Option<Mutation>,
    ) -> Self {
        let params_layout = (!caps.immediates).then(|| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("params"),
                entries: &[wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: true,
                        min_binding_size: None,
                    },
                    count: None,
                }],
            })
        });
        let ready = Mutex::new(HashMap::new());
        let immediates = caps.immediates;
        Self { device, adapter, checks, mutation, immediates, params_layout, ready }
    }

    /// Variants compiled so far.
    pub(super) fn count(&self) -> usize {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True if the variant is compiled.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// The pipeline of a dispatch, compiled if need be. Fails with [`BackendError::Shader`], naming
    /// our file and line.
    pub(super) fn get(&self, key: &Key) -> BackendResult<Arc<Pipeline>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = ready.get(key) {
            return Ok(found.clone());
        }
        let mut text = shader::expand(key.shader, &key.defines)?;
        if let Some(mutation) = &self.mutation {
            text.mutate(mutation);
        }
        let pipeline = Arc::new(self.compile(key, &text)?);
        ready.insert(key.clone(), pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, key: &Key, source: &Expanded) -> BackendResult<Pipeline> {
        let name = key.text();
        let dump = source.dump(&name, &name, &self.adapter);
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.module(key.shader, source);
        if let Some(error) = pollster::block_on(scope.pop()) {
            let info = pollster::block_on(module.get_compilation_info());
            let first = info
                .messages
                .into_iter()
                .find(|m| m.message_type == wgpu::CompilationMessageType::Error);
            let line = first.as_ref().and_then(|m| m.location).map_or(1, |at| at.line_number);
            let (file, line) = source.origin(line);
            let message = first.map_or_else(|| error.to_string(), |m| m.message);
            return Err(BackendError::Shader { file: format!("{file}.wgsl"), line, message, dump });
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let layout = self.layout(key.shader, source);
        let pipeline = self.pipeline(key, &layout, &module);
        let (internal, validation) =
            (pollster::block_on(internal.pop()), pollster::block_on(scope.pop()));
        if let Some(error) = validation.or(internal) {
            let file = format!("{}.wgsl", key.shader);
            return Err(BackendError::Shader { file, line: 1, message: error.to_string(), dump });
        }
        tracing::debug!(variant = name, "compiled a pipeline");
        Ok(Pipeline { pipeline, layout, bindings: source.bindings.clone() })
    }

    fn module(&self, label: &str, source: &Expanded) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(source.text.as_str().into()),
        };
        match self.checks {
            ShaderChecks::On => self.device.create_shader_module(descriptor),
            // SAFETY: the kernels end every loop by a bound from their parameters, and all indices lie
            // within the views that `Op::check` has compared with the shapes; data-dependent indices
            // (ids, slots, pages) are compared with their limit in the shader. The op table runs every
            // kernel with guard zones around its views.
            ShaderChecks::Off => unsafe {
                self.device.create_shader_module_trusted(
                    descriptor,
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            },
        }
    }

    fn layout(&self, label: &str, source: &Expanded) -> wgpu::BindGroupLayout {
        let entries: Vec<_> = source
            .bindings
            .iter()
            .map(|binding| wgpu::BindGroupLayoutEntry {
                binding: binding.index,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: binding.read_only },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(label),
            entries: &entries,
        })
    }

    fn pipeline(
        &self,
        key: &Key,
        layout: &wgpu::BindGroupLayout,
        module: &wgpu::ShaderModule,
    ) -> wgpu::ComputePipeline {
        let mut groups = vec![Some(layout)];
        groups.extend(self.params_layout.iter().map(Some));
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(key.shader),
            bind_group_layouts: &groups,
            immediate_size: if self.immediates { IMMEDIATE_BYTES } else { 0 },
        });
        let constants: Vec<_> =
            key.constants.iter().map(|(n, bits)| (*n, f64::from_bits(*bits))).collect();
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(key.shader),
            layout: Some(&layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Kernels write workgroup memory before they read it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }
}
