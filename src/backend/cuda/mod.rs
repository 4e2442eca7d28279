//! Ops as CUDA kernels, on NVIDIA GPUs.
//!
//! | file | what it does |
//! |---|---|
//! | `source` | the embedded texts under `cuda/` |
//! | `kernels` | which kernel, grid and arguments an op becomes; no device needed |
//! | `library` | the driver's and the compiler's libraries, looked up at run time |
//! | `nvrtc` | compiles a kernel for the device, once for each text and compiler |
//! | `peaks` | what a device can do at most |
//! | `driver` | context, stream, memory, graphs |
//!
//! A prepared recording is a CUDA graph: a step is one launch of it, one copy into pinned memory and
//! one event. Nothing of this needs a toolkit at build time, and without the libraries the device list
//! simply has no CUDA entry.

mod driver;
pub mod kernels;
pub mod library;
pub mod nvrtc;
mod peaks;
pub mod source;

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use self::{
    driver::{Flight, Gpu, Graph, Region},
    kernels::Launch,
};
use crate::{
    backend::{
        AdapterDetails, AdapterKind, AdapterReport, Backend, BackendError, BackendResult, Buffer,
        BufferDesc, DeviceId, Download, Memory, MemoryUse, Peaks, Prepared, Stats, Support, Ticket,
        Tier, View, Wait,
    },
    ops::Op,
    record::{Recording, check_op},
};

/// The devices that kernels run on, or why there are none.
pub fn list() -> Result<Vec<AdapterReport>, String> {
    let found = find()?;
    if found.usable.is_empty() {
        return Err(found.refused.join("; "));
    }
    Ok(found.usable)
}

/// Devices that the driver has but kernels do not run on, with reasons; none where nothing was found at all.
pub fn refused() -> Vec<String> {
    find().map(|found| found.refused).unwrap_or_default()
}

/// What the driver finds.
#[derive(Debug, Default)]
struct Found {
    usable: Vec<AdapterReport>,
    refused: Vec<String>,
}

fn find() -> Result<Found, String> {
    if !library::has_driver() {
        return Err(
            "no CUDA library: the NVIDIA driver (libcuda.so.1, nvcuda.dll) was not found".into()
        );
    }
    library::nvrtc()?;
    let count = driver::count().map_err(|e| format!("the NVIDIA driver does not start: {e}"))?;
    if count == 0 {
        return Err("the NVIDIA driver finds no device".into());
    }
    let mut found = Found::default();
    for index in 0..count {
        let (report, facts) = report(index)?;
        match too_old(&facts) {
            None => found.usable.push(report),
            Some(reason) => found.refused.push(format!("{}: {reason}", report.selector)),
        }
    }
    Ok(found)
}

/// Why kernels do not run on a device, if they do not.
fn too_old(facts: &driver::Facts) -> Option<String> {
    (facts.arch < OLDEST).then(|| {
        let capability = |arch: u32| format!("{}.{}", arch / 10, arch % 10);
        format!(
            "{} has compute capability {}, kernels need {}; wgpu may run on it",
            facts.name,
            capability(facts.arch),
            capability(OLDEST)
        )
    })
}

fn report(index: usize) -> Result<(AdapterReport, driver::Facts), String> {
    let facts =
        driver::facts(index).map_err(|e| format!("CUDA device {index} gives no facts: {e}"))?;
    let (major, minor) = (facts.driver / 1000, facts.driver % 1000 / 10);
    let report = AdapterReport {
        selector: format!("cuda:{index}"),
        name: facts.name.clone(),
        api: "cuda".into(),
        driver: format!(
            "CUDA {major}.{minor}, compute capability {}.{}",
            facts.arch / 10,
            facts.arch % 10
        ),
        kind: AdapterKind::Discrete,
        tier: Tier::Matrix,
        f16: true,
        subgroup: Some((32, 32)),
        max_buffer_bytes: facts.memory,
        max_binding_bytes: facts.memory,
        workgroup_memory_bytes: facts.shared,
        details: AdapterDetails::default(),
    };
    Ok((report, facts))
}

/// Opens device `index`.
///
/// # Errors
/// [`BackendError::NoAdapter`] if there is no such device or a library is missing.
pub fn open(index: usize) -> BackendResult<Cuda> {
    let none = |reason| BackendError::NoAdapter { wanted: format!("cuda:{index}"), reason };
    let found = find().map_err(none)?;
    let count = found.usable.len() + found.refused.len();
    if index >= count {
        return Err(none(format!("there are {count} CUDA devices")));
    }
    let (report, facts) = report(index).map_err(none)?;
    if let Some(reason) = too_old(&facts) {
        return Err(none(reason));
    }
    let cache =
        directories::ProjectDirs::from("", "", "coppice").map(|dirs| dirs.cache_dir().join("cuda"));
    let gpu = Gpu::open(index, &facts, cache)?;
    let counts = Counts::default();
    Ok(Cuda { id: DeviceId::unique(), gpu, report, counts })
}

/// Lowest compute capability that kernels are written for.
const OLDEST: u32 = 75;

/// A CUDA device.
pub struct Cuda {
    id: DeviceId,
    gpu: Arc<Gpu>,
    report: AdapterReport,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    dispatches: AtomicU64,
    submissions: AtomicU64,
    readbacks: AtomicU64,
}

impl Memory for Region {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A prepared recording.
struct Replay {
    /// Absent for a recording without work.
    graph: Option<Graph>,
    launches: u64,
    /// Keeps the memory of the views and what launches share.
    _views: Vec<View>,
    _scratch: Region,
}

impl Cuda {
    fn region<'a>(&self, view: &'a View) -> BackendResult<&'a Region> {
        view.buffer.memory::<Region>(self.id, &self.report.name)
    }

    fn check(&self, view: &View) -> BackendResult<()> {
        self.region(view)?;
        if view.end().is_some_and(|end| end <= view.buffer.bytes()) {
            return Ok(());
        }
        Err(BackendError::Range {
            label: view.buffer.label().into(),
            message: format!("view {view} does not fit {} bytes", view.buffer.bytes()),
        })
    }

    fn dense(&self, view: &View, what: &str) -> BackendResult<()> {
        self.check(view)?;
        if view.is_dense() {
            return Ok(());
        }
        Err(BackendError::Range {
            label: view.buffer.label().into(),
            message: format!("{what} of {view}, wanted a dense view"),
        })
    }

    /// Prepares launches, which share `scratch_bytes` of temporary memory.
    ///
    /// # Errors
    /// Kernels that do not compile, and a device without memory.
    pub fn prepare_launches(
        &self,
        launches: Vec<Launch>,
        scratch_bytes: u64,
    ) -> BackendResult<Prepared> {
        for launch in &launches {
            self.gpu.load(launch)?;
        }
        let desc = BufferDesc {
            label: "temporary memory of a recording".into(),
            bytes: scratch_bytes,
            usage: crate::backend::Usage::Scratch,
        };
        let scratch = self.gpu.alloc(scratch_bytes).map_err(|_| self.memory_error(&desc))?;
        let address = |view: Option<&View>| match view {
            Some(view) => Ok(self.region(view)?.address()),
            None => Ok(scratch.address()),
        };
        let with_params = launches
            .into_iter()
            .map(|launch| {
                let params = launch.bytes(address)?;
                Ok((launch, params))
            })
            .collect::<BackendResult<Vec<_>>>()?;
        let graph = (!with_params.is_empty()).then(|| self.gpu.graph(&with_params)).transpose()?;
        let launches = with_params.len() as u64;
        let views = with_params.into_iter().flat_map(|(launch, _)| launch.views()).collect();
        let replay = Replay { graph, launches, _views: views, _scratch: scratch };
        Ok(Prepared { device: self.id, inner: Box::new(replay) })
    }

    fn memory_error(&self, desc: &BufferDesc) -> BackendError {
        BackendError::OutOfMemory {
            label: desc.label.clone(),
            need_bytes: desc.bytes,
            used_bytes: self.gpu.memory().allocated_bytes,
            adapter: self.report.name.clone(),
        }
    }
}

impl Backend for Cuda {
    fn adapter(&self) -> &AdapterReport {
        &self.report
    }

    fn support(&self, op: &Op) -> Support {
        match kernels::plan(op) {
            Ok(plan) => Support::Native {
                variant: plan.launches.last().map_or("nothing to do", |launch| launch.unit.stem),
            },
            Err(reason) => Support::No { reason },
        }
    }

    fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer> {
        if desc.bytes > self.report.max_buffer_bytes {
            return Err(BackendError::TooLarge {
                label: desc.label.clone(),
                need_bytes: desc.bytes,
                limit_bytes: self.report.max_buffer_bytes,
                adapter: self.report.name.clone(),
            });
        }
        let region = self.gpu.alloc(desc.bytes).map_err(|_| self.memory_error(desc))?;
        Ok(Buffer::new(self.id, desc.clone(), Box::new(region)))
    }

    fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()> {
        self.dense(dst, "write")?;
        if dst.span_bytes() != bytes.len() as u64 {
            return Err(BackendError::Range {
                label: dst.buffer.label().into(),
                message: format!("{} bytes written to {dst} of {}", bytes.len(), dst.span_bytes()),
            });
        }
        self.gpu.write(self.region(dst)?, dst.offset, bytes).map_err(|e| self.gpu.lost(e))
    }

    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared> {
        let mut launches: Vec<Launch> = Vec::new();
        let mut scratch_bytes = 0;
        for node in &recording.nodes {
            let operand = |message| BackendError::Operand {
                op: node.op.to_string(),
                site: node.site,
                message,
            };
            check_op(&node.op).map_err(operand)?;
            for operand in node.op.operands() {
                self.check(operand.view)?;
            }
            let plan = kernels::plan(&node.op).map_err(|reason| BackendError::Unsupported {
                op: node.op.to_string(),
                adapter: self.report.name.clone(),
                reason,
            })?;
            scratch_bytes = plan.scratch_bytes.max(scratch_bytes);
            launches.extend(plan.launches);
        }
        self.prepare_launches(launches, scratch_bytes)
    }

    fn submit(&self, work: &Prepared, reads: &[View]) -> BackendResult<Ticket> {
        let replay = work.get::<Replay>(self.id, &self.report.name)?;
        let mut regions = Vec::with_capacity(reads.len());
        for view in reads {
            self.dense(view, "read")?;
            regions.push((self.region(view)?, view.offset, view.span_bytes()));
        }
        let flight =
            self.gpu.submit(replay.graph.as_ref(), &regions).map_err(|e| self.gpu.lost(e))?;
        self.counts.dispatches.fetch_add(replay.launches, Ordering::Relaxed);
        self.counts.submissions.fetch_add(1, Ordering::Relaxed);
        if !reads.is_empty() {
            self.counts.readbacks.fetch_add(1, Ordering::Relaxed);
        }
        let lengths: Vec<usize> = reads.iter().map(|view| view.span_bytes() as usize).collect();
        Ok(Ticket { inner: Box::new((flight, lengths)) })
    }

    fn finish(&self, ticket: Ticket, wait: Wait) -> BackendResult<Download> {
        let Ok(inner) = ticket.inner.downcast::<(Flight, Vec<usize>)>() else {
            return Err(BackendError::ForeignDevice {
                what: "submission".into(),
                adapter: self.report.name.clone(),
            });
        };
        let (flight, lengths) = *inner;
        if let Wait::Spin(budget) = wait {
            let started = Instant::now();
            while !flight.is_done().map_err(|e| self.gpu.lost(e))? && started.elapsed() < budget {
                std::hint::spin_loop();
            }
        }
        let bytes = flight.wait().map_err(|e| self.gpu.lost(e))?;
        let mut start = 0;
        let ranges = lengths
            .into_iter()
            .map(|length| {
                let range = (start, start + length);
                start += length.next_multiple_of(4);
                range
            })
            .collect();
        Ok(Download { bytes, ranges })
    }

    fn memory(&self) -> MemoryUse {
        self.gpu.memory()
    }

    fn peaks(&self) -> BackendResult<Peaks> {
        peaks::measure(self)
    }

    fn free_memory(&self) -> Option<u64> {
        self.gpu.free_memory().ok()
    }

    fn stats(&self) -> Stats {
        Stats {
            dispatches: self.counts.dispatches.load(Ordering::Relaxed),
            submissions: self.counts.submissions.load(Ordering::Relaxed),
            readbacks: self.counts.readbacks.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_devices_are_refused_with_both_numbers() {
        let facts = |arch| driver::Facts {
            name: "GTX 1080".into(),
            arch,
            driver: 12080,
            memory: 8 << 30,
            shared: 48 << 10,
        };
        assert_eq!(too_old(&facts(75)), None);
        let reason = too_old(&facts(61)).expect("it is too old");
        assert!(reason.contains("6.1") && reason.contains("7.5"), "{reason}");
    }
}
