//! Ops as WGSL compute shaders through wgpu: Vulkan, Metal and Direct3D 12 by the same code.
//!
//! | file | what it does |
//! |---|---|
//! | `shader` | preprocessor and the table of embedded files |
//! | `caps` | what a device can do |
//! | `kernels` | which shader, variant, bindings and grid an op becomes; no device needed |
//! | `pipeline` | compiles variants when first needed |
//! | `encode` | a recording resolved once, encoded at each replay |
//! | `facts` | adapters: which there are, what they say of themselves |
//! | `peaks` | what a device can do at most |
//! | `memory`, `readback` | buffers that are counted; results in one mapped buffer |
//! | `device` | what the others share: errors, writes, submissions, waiting |
//!
//! A step is one encoder with one compute pass, one submission and one mapped readback. The GL backend
//! is not used (no guaranteed storage buffers), nor are indirect dispatches (wgpu validates them with a
//! dispatch of its own).

mod caps;
mod device;
mod encode;
mod facts;
pub mod kernels;
mod memory;
mod peaks;
mod pipeline;
mod readback;
pub mod shader;

pub use caps::Caps;
pub use pipeline::ShaderChecks;

use std::sync::Arc;

use self::{
    device::{Flight, Gpu},
    encode::Replay,
    facts::{adapters, caps_of, report},
    pipeline::Pipelines,
};
use crate::{
    backend::{
        AdapterReport, Backend, BackendError, BackendResult, Buffer, BufferDesc, DeviceId,
        Download, MemoryUse, Peaks, Prepared, Stats, Support, Ticket, Tier, View, Wait,
    },
    ops::Op,
    record::Recording,
};

/// Told how many of the pipelines that a recording needs are compiled, and of how many.
pub type Progress = Arc<dyn Fn(usize, usize) + Send + Sync>;

/// How to open a device.
#[derive(Clone, Default)]
pub struct Options {
    /// Use kernels of this tier although the device can do better; an error if it cannot.
    pub force_tier: Option<Tier>,
    /// Pretend that a storage binding holds at most this many bytes.
    pub max_binding_bytes: Option<u64>,
    /// Pass parameters through a uniform buffer although the device has immediates.
    pub no_immediates: bool,
    /// Use the kernels of a GPU on a driver that runs shaders on the processor: slow there, but it lets
    /// a machine without a GPU test them.
    pub gpu_kernels: bool,
    /// Keep naga's run-time checks in the shaders.
    pub checked: bool,
    /// Change kernels on purpose: for tests of the tests.
    pub mutation: Option<shader::Mutation>,
    /// Called while pipelines are compiled.
    pub progress: Option<Progress>,
}

/// All adapters, hardware first, each kind in the order in which the drivers list them.
pub fn list() -> Vec<AdapterReport> {
    adapters()
        .iter()
        .enumerate()
        .map(|(i, adapter)| report(&format!("wgpu:{i}"), adapter, &caps_of(adapter)))
        .collect()
}

/// Opens the adapter `wgpu:<index>` of [`list`]. Fails with [`BackendError::NoAdapter`].
pub fn open(index: usize, options: &Options) -> BackendResult<Wgpu> {
    let wanted = format!("wgpu:{index}");
    let mut all = adapters();
    if index >= all.len() {
        let reason = match all.len() {
            0 => "no Vulkan, Metal or Direct3D 12 driver was found".into(),
            n => format!("there are {n}: wgpu:0 to wgpu:{}", n - 1),
        };
        return Err(BackendError::NoAdapter { wanted, reason });
    }
    open_adapter(&all.swap_remove(index), &wanted, options)
}

/// Opens wgpu's adapter that checks everything it is given and computes nothing: pipelines and bindings of
/// every variant can be validated where there is no driver. Fails with [`BackendError::NoAdapter`].
pub fn open_noop(options: &Options) -> BackendResult<Wgpu> {
    let wanted = facts::NOOP;
    let reason = "wgpu was built without its noop adapter".into();
    let adapter = facts::noop_adapter();
    let adapter = adapter.ok_or(BackendError::NoAdapter { wanted: wanted.into(), reason })?;
    open_adapter(&adapter, wanted, options)
}

fn open_adapter(adapter: &wgpu::Adapter, selector: &str, options: &Options) -> BackendResult<Wgpu> {
    let wanted = selector.to_owned();
    let mut caps = caps_of(adapter);
    if let Some(tier) = options.force_tier {
        if tier > caps.tier {
            let reason = format!("it has tier {}, not {tier}", caps.tier);
            return Err(BackendError::NoAdapter { wanted, reason });
        }
        caps.tier = tier;
    }
    caps.immediates &= !options.no_immediates;
    caps.software &= !options.gpu_kernels;
    if let Some(bytes) = options.max_binding_bytes {
        caps.max_binding_bytes = caps.max_binding_bytes.min(bytes);
    }
    let report = report(selector, adapter, &caps);
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("coppice"),
        required_features: adapter.features() & useful_features(),
        required_limits: adapter.limits(),
        ..Default::default()
    }))
    .map_err(|e| BackendError::NoAdapter { wanted, reason: e.to_string() })?;
    let name = report.to_string();
    let checks = if options.checked { ShaderChecks::On } else { ShaderChecks::Off };
    let mutation = options.mutation.clone();
    let pipelines = Pipelines::new(device.clone(), name.clone(), &caps, checks, mutation);
    let gpu = Gpu::new(device, queue, name, caps, pipelines, options.progress.clone());
    Ok(Wgpu { report, gpu })
}

fn useful_features() -> wgpu::Features {
    wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::IMMEDIATES
}

/// An opened adapter.
pub struct Wgpu {
    report: AdapterReport,
    gpu: Gpu,
}

impl Wgpu {
    /// What kernels choose their variants by.
    pub fn caps(&self) -> &Caps {
        &self.gpu.caps
    }

    /// Identity of the device.
    pub fn id(&self) -> DeviceId {
        self.gpu.id
    }

    /// Pipelines compiled so far.
    pub fn pipelines(&self) -> usize {
        self.gpu.pipelines.count()
    }
}

impl Backend for Wgpu {
    fn adapter(&self) -> &AdapterReport {
        &self.report
    }

    fn support(&self, op: &Op) -> Support {
        match kernels::plan(op, &self.gpu.caps) {
            Ok(parts) if parts.len() > 1 => Support::Split { parts: parts.len() as u32 },
            Ok(_) => Support::Native { variant: self.gpu.caps.tier.name() },
            Err(reason) => Support::No { reason },
        }
    }

    fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer> {
        self.gpu.alloc(desc)
    }

    fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()> {
        self.gpu.write(dst, bytes)
    }

    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared> {
        let replay = Replay::new(&self.gpu, recording)?;
        Ok(Prepared { device: self.gpu.id, inner: Box::new(replay) })
    }

    fn submit(&self, work: &Prepared, reads: &[View]) -> BackendResult<Ticket> {
        let replay: &Replay = work.get(self.gpu.id, &self.gpu.name)?;
        Ok(Ticket { inner: Box::new(self.gpu.submit(replay, reads)?) })
    }

    fn finish(&self, ticket: Ticket, wait: Wait) -> BackendResult<Download> {
        let flight =
            ticket.inner.downcast::<Flight>().map_err(|_| BackendError::ForeignDevice {
                what: "submission".into(),
                adapter: self.gpu.name.clone(),
            })?;
        self.gpu.finish(*flight, wait)
    }

    fn memory(&self) -> MemoryUse {
        self.gpu.memory()
    }

    fn stats(&self) -> Stats {
        self.gpu.stats()
    }

    fn peaks(&self) -> BackendResult<Peaks> {
        peaks::measure(&self.gpu)
    }
}
