//! What a device can do, in the few facts that kernels ask for.

use crate::backend::Tier;

/// Facts by which kernels choose their variants. All of them are constant for a device, so that a
/// choice made from them never depends on the number of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// Best tier, or the one the user forced.
    pub tier: Tier,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Smallest and largest subgroup, where subgroups exist.
    pub subgroup: Option<(u32, u32)>,
    /// Parameters travel as immediates instead of through a uniform buffer.
    pub immediates: bool,
    /// Shaders run on the processor: few lanes, dear barriers.
    pub software: bool,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Storage bindings begin at multiples of this many bytes.
    pub offset_align_bytes: u64,
    /// Storage buffers that one kernel may bind.
    pub max_storage_buffers: u32,
    /// Shared memory of a workgroup in bytes.
    pub workgroup_memory_bytes: u32,
}

/// Immediates that the kernels' parameters fit into, in bytes.
pub(super) const IMMEDIATE_BYTES: u32 = 128;

impl Caps {
    /// Reads features and limits of an adapter.
    pub fn of(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        Self {
            tier: if subgroups { Tier::Subgroup } else { Tier::Baseline },
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroup: subgroups.then_some((info.subgroup_min_size, info.subgroup_max_size)),
            immediates: features.contains(wgpu::Features::IMMEDIATES)
                && limits.max_immediate_size >= IMMEDIATE_BYTES,
            software: is_software(info),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            offset_align_bytes: u64::from(limits.min_storage_buffer_offset_alignment),
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
        }
    }

    /// Lanes that reduce one row together.
    pub(super) fn reduce_lanes(&self) -> u32 {
        // On a processor eight lanes are one vector, and a barrier between vectors costs more than
        // the loop it would shorten.
        if self.software { 8 } else { 256 }
    }

    /// True if every subgroup has lanes 0 to 7.
    pub(super) fn broadcasts_eight(&self) -> bool {
        self.tier >= Tier::Subgroup && self.subgroup.is_some_and(|(least, _)| least >= 8)
    }
}

/// Drivers that run shaders on the processor do not all say so in their device type.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let name = info.name.to_ascii_lowercase();
    let known = ["llvmpipe", "swiftshader", "microsoft basic render driver", "warp"];
    info.device_type == wgpu::DeviceType::Cpu || known.iter().any(|k| name.contains(k))
}
