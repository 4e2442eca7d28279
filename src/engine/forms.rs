//! The forms in which a device is tested: as the program opens it, and with less than it can do.

use std::{fmt, str::FromStr, sync::Arc};

use super::device::{DeviceSpec, open_device};
use crate::{
    backend::{AdapterReport, Backend, Tier, cpu::fast::simd::Isa},
    error::{Error, Result},
};

/// A form of a device. Kernels choose their variants by what a device can do, so each form runs
/// other kernels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceForm {
    /// As the program opens it.
    #[default]
    Usual,
    /// Kernels of this tier although the device can do better.
    Tier(Tier),
    /// Small bindings, so that weights are split; parameters through a uniform buffer; naga's
    /// run-time checks.
    SmallLimits,
    /// The kernels of a GPU on a driver that runs shaders on the processor.
    GpuKernels,
    /// The CPU path with this instruction set.
    Isa(String),
}

/// A storage binding may hold this much under small limits: enough for activations and pages, less than
/// the largest weights of the op table.
#[cfg(feature = "wgpu")]
const SMALL_BINDING_BYTES: u64 = 512 << 10;

impl fmt::Display for DeviceForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => f.write_str("usual"),
            Self::Tier(tier) => write!(f, "tier={tier}"),
            Self::SmallLimits => f.write_str("small-limits"),
            Self::GpuKernels => f.write_str("gpu-kernels"),
            Self::Isa(name) => write!(f, "isa={name}"),
        }
    }
}

impl FromStr for DeviceForm {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let tiers = [Tier::Baseline, Tier::Subgroup, Tier::Dot8, Tier::Matrix];
        let tier = |name: &str| tiers.into_iter().find(|tier| tier.name() == name);
        match (given, given.split_once('=')) {
            ("usual", _) => Ok(Self::Usual),
            ("small-limits", _) => Ok(Self::SmallLimits),
            ("gpu-kernels", _) => Ok(Self::GpuKernels),
            (_, Some(("tier", name))) if tier(name).is_some() => {
                Ok(Self::Tier(tier(name).expect("looked up in the guard")))
            }
            (_, Some(("isa", name))) => Ok(Self::Isa(name.into())),
            _ => Err(Error::Invalid {
                message: format!("`{given}` names no form of a device"),
                hint: Some("usual, tier=baseline|subgroup|dot8|matrix, small-limits, gpu-kernels or isa=NAME".into()),
            }),
        }
    }
}

impl DeviceForm {
    /// Every form of a device, the usual one first.
    pub fn all(report: &AdapterReport) -> Vec<Self> {
        let mut all = vec![Self::Usual];
        if report.selector.starts_with("wgpu") {
            let lower = [Tier::Baseline, Tier::Subgroup, Tier::Dot8].into_iter();
            all.extend(lower.filter(|tier| *tier < report.tier).map(Self::Tier));
            all.push(Self::SmallLimits);
            if report.is_software() {
                all.push(Self::GpuKernels);
            }
        }
        if report.selector == "cpu" {
            let best = Isa::best().name();
            let names = Isa::available().into_iter().map(Isa::name);
            all.extend(names.filter(|name| *name != best).map(|name| Self::Isa(name.into())));
        }
        all
    }
}

/// Opens a device in a form.
///
/// # Errors
/// [`Error::Invalid`] for a form that the device does not have; those of [`open_device`].
pub fn open_form(
    spec: DeviceSpec,
    form: &DeviceForm,
    threads: Option<usize>,
) -> Result<Arc<dyn Backend>> {
    let wrong = || Error::invalid(format!("{spec} has no form `{form}`"));
    match (spec, form) {
        (_, DeviceForm::Usual) => open_device(spec, threads),
        (DeviceSpec::Cpu, DeviceForm::Isa(name)) => {
            let mut available = Isa::available().into_iter();
            let isa = available.find(|isa| isa.name() == name).ok_or_else(wrong)?;
            Ok(Arc::new(crate::backend::cpu::Cpu::fast_with(threads.unwrap_or(0), isa)?))
        }
        #[cfg(feature = "wgpu")]
        (DeviceSpec::Wgpu(Some(index)), form) => {
            use crate::backend::wgpu;
            let usual = wgpu::Options::default();
            let options = match form {
                DeviceForm::Tier(tier) => wgpu::Options { force_tier: Some(*tier), ..usual },
                DeviceForm::SmallLimits => wgpu::Options {
                    max_binding_bytes: Some(SMALL_BINDING_BYTES),
                    no_immediates: true,
                    checked: true,
                    ..usual
                },
                DeviceForm::GpuKernels => wgpu::Options { gpu_kernels: true, ..usual },
                DeviceForm::Usual => usual,
                DeviceForm::Isa(_) => return Err(wrong()),
            };
            Ok(Arc::new(wgpu::open(index, &options)?))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_parse_and_print_back() {
        for name in ["usual", "tier=baseline", "small-limits", "gpu-kernels", "isa=avx2"] {
            assert_eq!(name.parse::<DeviceForm>().expect(name).to_string(), name);
        }
        for name in ["", "tier=", "tier=best", "usual=1", "isa"] {
            assert!(name.parse::<DeviceForm>().is_err(), "{name}");
        }
    }
}
