//! Devices by name.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    backend::{AdapterReport, Backend, BackendError, cpu::Cpu},
    error::{Error, Result},
};

/// A device as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSpec {
    /// CUDA, else a hardware wgpu adapter, else the fast CPU path.
    Auto,
    /// The fast CPU path.
    Cpu,
    /// The plain CPU functions that every other device is checked against.
    Reference,
    /// A wgpu adapter by its number in the list; the first hardware adapter without one.
    Wgpu(Option<usize>),
    /// A CUDA device by its number.
    Cuda(Option<usize>),
    /// wgpu's adapter that validates and computes nothing: for tests.
    Noop,
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let wrong = || Error::Invalid {
            message: format!("`{given}` names no device"),
            hint: Some("one of auto, cpu, reference, wgpu, wgpu:N, cuda, cuda:N".into()),
        };
        let (name, number) = match given.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().map_err(|_| wrong())?)),
            None => (given, None),
        };
        match (name, number) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("reference", None) => Ok(Self::Reference),
            ("noop", None) => Ok(Self::Noop),
            ("wgpu", number) => Ok(Self::Wgpu(number)),
            ("cuda", number) => Ok(Self::Cuda(number)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Reference => f.write_str("reference"),
            Self::Noop => f.write_str("noop"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(n)) => write!(f, "wgpu:{n}"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(n)) => write!(f, "cuda:{n}"),
        }
    }
}

/// All devices of this machine: the CPU paths, then CUDA's, then wgpu's adapters, hardware first.
pub fn list_adapters(threads: Option<usize>) -> Result<Vec<AdapterReport>> {
    let mut all = vec![open_cpu(threads)?.adapter().clone(), Cpu::reference().adapter().clone()];
    all.extend(cuda_adapters().unwrap_or_default());
    all.extend(wgpu_adapters());
    Ok(all)
}

/// Opens a device.
///
/// # Errors
/// [`BackendError::NoAdapter`] if there is no such device, saying what there is.
pub fn open_device(spec: DeviceSpec, threads: Option<usize>) -> Result<Arc<dyn Backend>> {
    match spec {
        DeviceSpec::Cpu => open_cpu(threads),
        DeviceSpec::Reference => Ok(Arc::new(Cpu::reference())),
        DeviceSpec::Cuda(index) => open_cuda(spec, index.unwrap_or(0)),
        DeviceSpec::Noop => open_noop(spec),
        DeviceSpec::Wgpu(Some(index)) => open_wgpu(spec, index),
        DeviceSpec::Wgpu(None) => match first_hardware() {
            Some(index) => open_wgpu(spec, index),
            None => Err(missing(spec, &no_hardware())),
        },
        DeviceSpec::Auto => match (first_cuda(), first_hardware()) {
            (Some(index), _) => open_cuda(spec, index),
            (None, Some(index)) => open_wgpu(spec, index),
            (None, None) => open_cpu(threads),
        },
    }
}

/// The fast CPU path on `threads`, or on one a core.
fn open_cpu(threads: Option<usize>) -> Result<Arc<dyn Backend>> {
    // Zero stands for one a core.
    Ok(Arc::new(Cpu::fast(threads.unwrap_or(0))?))
}

fn missing(spec: DeviceSpec, reason: &str) -> Error {
    BackendError::NoAdapter { wanted: spec.to_string(), reason: reason.into() }.into()
}

/// Number of the first CUDA device that kernels run on.
fn first_cuda() -> Option<usize> {
    let all = cuda_adapters().ok()?;
    all.first()?.selector.strip_prefix("cuda:")?.parse().ok()
}

fn first_hardware() -> Option<usize> {
    wgpu_adapters().iter().position(|report| !report.is_software())
}

fn no_hardware() -> String {
    let found = wgpu_adapters();
    if found.is_empty() {
        return "wgpu finds no adapter; is a Vulkan, Metal or DX12 driver installed?".into();
    }
    let names: Vec<_> =
        found.iter().map(|report| format!("{} = {}", report.selector, report.name)).collect();
    format!("only software adapters, which must be asked for by number: {}", names.join(", "))
}

#[cfg(feature = "wgpu")]
fn wgpu_adapters() -> Vec<AdapterReport> {
    crate::backend::wgpu::list()
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_adapters() -> Vec<AdapterReport> {
    Vec::new()
}

#[cfg(feature = "wgpu")]
fn open_wgpu(_: DeviceSpec, index: usize) -> Result<Arc<dyn Backend>> {
    let device = crate::backend::wgpu::open(index, &crate::backend::wgpu::Options::default())?;
    Ok(Arc::new(device))
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(spec: DeviceSpec, _: usize) -> Result<Arc<dyn Backend>> {
    Err(missing(spec, "this build lacks the feature `wgpu`"))
}

#[cfg(feature = "wgpu")]
fn open_noop(_: DeviceSpec) -> Result<Arc<dyn Backend>> {
    let options = crate::backend::wgpu::Options::default();
    Ok(Arc::new(crate::backend::wgpu::open_noop(&options)?))
}

#[cfg(not(feature = "wgpu"))]
fn open_noop(spec: DeviceSpec) -> Result<Arc<dyn Backend>> {
    Err(missing(spec, "this build lacks the feature `wgpu`"))
}

/// CUDA's devices, or why there are none.
#[cfg(feature = "cuda")]
pub fn cuda_adapters() -> std::result::Result<Vec<AdapterReport>, String> {
    crate::backend::cuda::list()
}

/// CUDA devices that are there but cannot be used, with reasons.
#[cfg(feature = "cuda")]
pub fn cuda_refused() -> Vec<String> {
    crate::backend::cuda::refused()
}

/// CUDA devices that are there but cannot be used, with reasons.
#[cfg(not(feature = "cuda"))]
pub fn cuda_refused() -> Vec<String> {
    Vec::new()
}

/// CUDA's devices, or why there are none.
#[cfg(not(feature = "cuda"))]
pub fn cuda_adapters() -> std::result::Result<Vec<AdapterReport>, String> {
    Err("this build lacks the feature `cuda`".into())
}

#[cfg(feature = "cuda")]
fn open_cuda(_: DeviceSpec, index: usize) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(crate::backend::cuda::open(index)?))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(spec: DeviceSpec, _: usize) -> Result<Arc<dyn Backend>> {
    Err(missing(spec, "this build lacks the feature `cuda`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print_back() {
        for name in ["auto", "cpu", "reference", "wgpu", "wgpu:3", "cuda", "cuda:0", "noop"] {
            assert_eq!(name.parse::<DeviceSpec>().expect(name).to_string(), name);
        }
        for name in ["", "gpu", "cpu:1", "wgpu:", "wgpu:x", "wgpu:-1"] {
            assert!(name.parse::<DeviceSpec>().is_err(), "{name}");
        }
    }
}
