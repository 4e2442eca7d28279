//! What a device says about itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kind of hardware behind an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// Graphics card with its own memory.
    Discrete,
    /// Graphics in the processor.
    Integrated,
    /// Graphics of a virtual machine.
    Virtual,
    /// A driver that runs shaders on the processor: for tests, never a default.
    Software,
    /// Our own CPU code.
    Cpu,
    /// The driver does not say.
    Unknown,
    /// Checks what it is given and computes nothing.
    Validation,
}

impl AdapterKind {
    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Cpu => "cpu",
            Self::Unknown => "unknown",
            Self::Validation => "validation",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Class of kernels that an adapter can run. Ordered: a higher tier can run all lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Plain WGSL, or portable Rust.
    Baseline,
    /// Subgroup operations.
    Subgroup,
    /// Packed 8-bit integer dot products.
    Dot8,
    /// Matrix units.
    Matrix,
}

impl Tier {
    /// Lower-case name, as in `--force-tier`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Subgroup => "subgroup",
            Self::Dot8 => "dot8",
            Self::Matrix => "matrix",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Name, driver and limits of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterReport {
    /// How the user selects it: `cpu`, `reference`, `wgpu:0`.
    pub selector: String,
    /// Marketing name.
    pub name: String,
    /// API below: `cpu`, `vulkan`, `metal`, `dx12`, `cuda`.
    pub api: String,
    /// Driver name and version, or the CPU features in use.
    pub driver: String,
    /// Kind of hardware.
    pub kind: AdapterKind,
    /// Best tier.
    pub tier: Tier,
    /// 16-bit floats in kernels.
    pub f16: bool,
    /// Smallest and largest subgroup, where subgroups exist.
    pub subgroup: Option<(u32, u32)>,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Shared memory of a workgroup in bytes; 0 where the notion does not apply.
    pub workgroup_memory_bytes: u32,
    /// What else the driver says, for reports.
    pub details: AdapterDetails,
}

/// What kernels do not ask for, but the reader of a report does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdapterDetails {
    /// PCI vendor.
    pub vendor: Option<u32>,
    /// PCI device.
    pub device: Option<u32>,
    /// PCI address.
    pub pci: Option<String>,
    /// Names of features.
    pub features: Vec<String>,
    /// Names and values of limits.
    pub limits: Vec<(String, String)>,
}

impl AdapterReport {
    /// True for a device that computes nothing.
    pub fn is_validation_only(&self) -> bool {
        self.kind == AdapterKind::Validation
    }

    /// True for a driver that runs shaders on the processor.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }
}

impl fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.api, self.driver)
    }
}

/// What a device can do at most, measured by kernels that do nothing else. An absent figure has no kernel
/// on that device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Bytes read plus bytes written by a copy larger than the caches, GB/s.
    pub copy_gb_s: Option<f64>,
    /// Fused multiply-adds of f32, two operations each, GFLOP/s.
    pub f32_gflops: Option<f64>,
    /// The same of f16.
    pub f16_gflops: Option<f64>,
    /// Dot products of four 8-bit integers, eight operations each, Gop/s.
    pub int8_gops: Option<f64>,
    /// Matrix units, f16 into f32, GFLOP/s.
    pub matrix_gflops: Option<f64>,
}
