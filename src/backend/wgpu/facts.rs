//! Adapters: which there are, and what they say of themselves.

use super::caps::{self, Caps};
use crate::backend::{AdapterDetails, AdapterKind, AdapterReport};

/// How the validating adapter is selected.
pub(super) const NOOP: &str = "noop";

pub(super) fn caps_of(adapter: &wgpu::Adapter) -> Caps {
    Caps::of(&adapter.get_info(), adapter.features(), &adapter.limits())
}

/// The adapter that computes nothing, with the limits that every WebGPU device has, but for the bindings
/// of a kernel and immediates, of which all that we know of have more. wgpu's own choice of the largest
/// possible limits overflows within wgpu.
pub(super) fn noop_adapter() -> Option<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        enable: true,
        limits: Some(wgpu::Limits {
            max_storage_buffers_per_shader_stage: 16,
            max_immediate_size: 128,
            ..wgpu::Limits::default()
        }),
        subgroup_min_size: Some(32),
        subgroup_max_size: Some(32),
        ..Default::default()
    };
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all())).into_iter().next()
}

/// Names and values of all limits. wgpu has no list of them but the one that `Debug` prints.
fn limits(limits: &wgpu::Limits) -> Vec<(String, String)> {
    let text = format!("{limits:#?}");
    let lines = text.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn adapters() -> Vec<wgpu::Adapter> {
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
        AdapterKind::Software | AdapterKind::Cpu | AdapterKind::Validation => 4,
    });
    all
}

fn kind(info: &wgpu::AdapterInfo) -> AdapterKind {
    if info.backend == wgpu::Backend::Noop {
        return AdapterKind::Validation;
    }
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

pub(super) fn report(selector: &str, adapter: &wgpu::Adapter, caps: &Caps) -> AdapterReport {
    let info = adapter.get_info();
    let driver = format!("{} {}", info.driver, info.driver_info);
    let details = AdapterDetails {
        vendor: Some(info.vendor),
        device: Some(info.device),
        pci: Some(info.device_pci_bus_id.clone()).filter(|address| !address.is_empty()),
        features: adapter.features().iter_names().map(|(name, _)| name.to_lowercase()).collect(),
        limits: limits(&adapter.limits()),
    };
    AdapterReport {
        selector: selector.into(),
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
        details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_limits_are_listed() {
        let all = limits(&wgpu::Limits::default());
        let of = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(of("max_bind_groups"), Some("4"));
        assert_eq!(of("max_compute_workgroup_storage_size"), Some("16384"));
        assert!(all.len() > 30);
    }
}
