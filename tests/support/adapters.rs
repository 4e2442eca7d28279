//! The devices of this machine, each in every form that the op table must hold for.

use std::sync::{Arc, OnceLock};

use coppice::backend::{
    BackendResult, SharedBackend,
    cpu::{Cpu, fast::simd::Isa},
};
#[cfg(feature = "wgpu")]
use coppice::backend::{Tier, wgpu};

/// A device, opened when first needed.
#[derive(Clone)]
pub struct Adapter {
    /// For names of tests, such as `wgpu vulkan llvmpipe 0 tier=subgroup`.
    pub label: String,
    open: Arc<dyn Fn() -> BackendResult<SharedBackend> + Send + Sync>,
    opened: Arc<OnceLock<Result<SharedBackend, String>>>,
}

impl Adapter {
    fn new<F>(label: String, open: F) -> Self
    where
        F: Fn() -> BackendResult<SharedBackend> + Send + Sync + 'static,
    {
        Self { label, open: Arc::new(open), opened: Arc::default() }
    }

    /// The device; all trials share it.
    pub fn get(&self) -> Result<SharedBackend, String> {
        self.opened.get_or_init(|| (self.open)().map_err(|e| e.to_string())).clone()
    }
}

/// The fast CPU path with each instruction set of this machine, on one thread and on three.
pub fn fast() -> Vec<Adapter> {
    let forms = Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| (isa, threads)));
    forms
        .map(|(isa, threads)| {
            let label = format!("cpu fast {} threads={threads}", isa.name());
            Adapter::new(label, move || Ok(Arc::new(Cpu::fast_with(threads, isa)?)))
        })
        .collect()
}

/// A storage binding may hold this much under synthetic small limits: enough for activations and pages,
/// less than the largest weights of the table, so that they are split.
#[cfg(feature = "wgpu")]
const SMALL_BINDING_BYTES: u64 = 512 << 10;

/// Every wgpu adapter: each tier that it has, and one form with small limits, without immediates
/// and with naga's checks.
#[cfg(feature = "wgpu")]
pub fn wgpu() -> Vec<Adapter> {
    let mut all = Vec::new();
    for (index, report) in wgpu::list().into_iter().enumerate() {
        let short = report.name.split([' ', '(']).next().unwrap_or_default();
        let label = format!("wgpu {} {short} {index}", report.api);
        let mut add = |form: String, options: wgpu::Options| {
            all.push(Adapter::new(format!("{label} {form}"), move || {
                Ok(Arc::new(wgpu::open(index, &options)?))
            }));
        };
        for tier in [Tier::Baseline, Tier::Subgroup, Tier::Dot8] {
            if tier <= report.tier {
                let options = wgpu::Options { force_tier: Some(tier), ..wgpu::Options::default() };
                add(format!("tier={tier}"), options);
            }
        }
        let small = wgpu::Options {
            max_binding_bytes: Some(SMALL_BINDING_BYTES),
            no_immediates: true,
            checked: true,
            ..wgpu::Options::default()
        };
        add("small limits".into(), small);
    }
    all
}
