//! Ops as WGSL compute shaders through wgpu: Vulkan, Metal and Direct3D 12 by the same code.
//!
//! | file | what it does |
//! |---|---|
//! | `shader` | preprocessor and the table of embedded files |
//! | `caps` | what a device can do |
//! | `kernels` | which shader, variant, bindings and grid an op becomes; no device needed |
//! | `pipeline` | compiles variants when first needed |
//! | `encode` | a recording resolved once, encoded at each replay |
//! | `memory`, `readback` | buffers that are counted; results in one mapped buffer |
//! | `device` | what the others share: errors, writes, submissions, waiting |
//!
//! A step is one encoder with one compute pass, one submission and one mapped readback. The GL backend
//! is not used (no guaranteed storage buffers), nor are indirect dispatches (wgpu validates them with a
//! dispatch of its own).

mod caps;
mod device;
mod encode;
pub mod kernels;
mod memory;
mod pipeline;
mod readback;
pub mod shader;

pub use caps::Caps;
pub use pipeline::ShaderChecks;

use std::sync::Arc;

use self::{
    device::{Flight, Gpu},
    encode::Replay,
    pipeline::Pipelines,
};
use crate::{
    backend::{
        AdapterKind, AdapterReport, Backend, BackendError, BackendResult, Buffer, BufferDesc,
        DeviceId, Download, MemoryUse, Prepared, Stats, Support, Ticket, Tier, View, Wait,
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
    /// Called while pipelines are compiled.
    pub progress: Option<Progress>,
}

/// All adapters, hardware first, each kind in the order in which the drivers list them.
pub fn list() -> Vec<AdapterReport> {
    adapters()
        .iter()
        .enumerate()
        .map(|(i, adapter)| report(i, adapter, &caps_of(adapter)))
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
    open_adapter(&all.swap_remove(index), index, options)
}

fn open_adapter(adapter: &wgpu::Adapter, index: usize, options: &Options) -> BackendResult<Wgpu> {
    let wanted = format!("wgpu:{index}");
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
    let report = report(index, adapter, &caps);
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("coppice"),
        required_features: adapter.features() & useful_features(),
        required_limits: adapter.limits(),
        ..Default::default()
    }))
    .map_err(|e| BackendError::NoAdapter { wanted, reason: e.to_string() })?;
    let name = report.to_string();
    let checks = if options.checked { ShaderChecks::On } else { ShaderChecks::Off };
    let pipelines = Pipelines::new(device.clone(), name.clone(), &caps, checks);
    let gpu = Gpu::new(device, queue, name, caps, pipelines, options.progress.clone());
    Ok(Wgpu { report, gpu })
}

fn useful_features() -> wgpu::Features {
    wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::IMMEDIATES
}

fn caps_of(adapter: &wgpu::Adapter) -> Caps {
    Caps::of(&adapter.get_info(), adapter.features(), &adapter.limits())
}

fn adapters() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    // We make no indirect calls, so nothing needs to be injected to validate them.
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    let instance = wgpu::Instance::new(descriptor);
    let mut all = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    // A stable sort: within a kind, the drivers' own order.
    all.sort_by_key(|adapter| match kind(&adapter.get_info()) {
        AdapterKind::Discrete => 0,
        AdapterKind::Integrated => 1,
        AdapterKind::Virtual => 2,
        AdapterKind::Unknown => 3,
        AdapterKind::Software | AdapterKind::Cpu => 4,
    });
    all
}

fn kind(info: &wgpu::AdapterInfo) -> AdapterKind {
    if caps::is_software(info) {
        return AdapterKind::Software;
    }
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Unknown,
    }
}

fn report(index: usize, adapter: &wgpu::Adapter, caps: &Caps) -> AdapterReport {
    let info = adapter.get_info();
    let driver = format!("{} {}", info.driver, info.driver_info);
    AdapterReport {
        selector: format!("wgpu:{index}"),
        kind: kind(&info),
        name: info.name,
        api: info.backend.to_str().into(),
        driver: driver.trim().into(),
        tier: caps.tier,
        f16: caps.f16,
        subgroup: caps.subgroup,
        max_buffer_bytes: caps.max_buffer_bytes,
        max_binding_bytes: caps.max_binding_bytes,
        workgroup_memory_bytes: caps.workgroup_memory_bytes,
    }
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
}
