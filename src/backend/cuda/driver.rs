//! The driver: one context, one stream, and handles that free themselves.
//!
//! All calls into the driver are here and in `nvrtc`. The order of trust: handles are made by
//! [`Gpu`], keep it alive, and are released once; device memory is freed in the order of the one
//! stream, so after the last work that uses it.

use std::{
    collections::HashMap,
    ffi::{CString, c_int, c_uint, c_void},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cudarc::driver::{DriverError, result, sys};

use super::{
    kernels::{Launch, Unit},
    nvrtc::Compiler,
};
use crate::backend::{BackendError, BackendResult, MemoryUse};

/// Facts about a device.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Marketing name.
    pub name: String,
    /// Compute capability, such as 90 for 9.0.
    pub arch: u32,
    /// CUDA version that the driver supports, such as 12080.
    pub driver: i32,
    /// Bytes of device memory.
    pub memory: u64,
    /// Shared memory of a block in bytes.
    pub shared: u32,
}

/// Number of devices; initialises the driver. The library must be there.
pub fn count() -> Result<usize, DriverError> {
    result::init()?;
    Ok(result::device::get_count()?.max(0) as usize)
}

/// Facts about device `index`.
pub fn facts(index: usize) -> Result<Facts, DriverError> {
    use sys::CUdevice_attribute_enum as Attribute;
    let device = result::device::get(index as c_int)?;
    let mut driver = 0;
    // SAFETY: the driver is initialised and `driver` valid for a write.
    unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result()?;
    // SAFETY: `device` comes from the driver.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK)?;
    Ok(Facts {
        name: result::device::get_name(device)?,
        arch: (10 * major + minor) as u32,
        driver,
        // SAFETY: as above.
        memory: unsafe { result::device::total_mem(device) }? as u64,
        shared: shared as u32,
    })
}

/// A device in use: its primary context, one stream for work and one for capturing graphs.
pub struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    capture: Mutex<Stream>,
    compiler: Compiler,
    functions: Mutex<HashMap<Unit, Function>>,
    /// Landings not in use.
    spare: Mutex<Vec<Landing>>,
    name: String,
    allocated: AtomicU64,
    peak: AtomicU64,
}

/// A stream, to be used by one thread at a time.
struct Stream(sys::CUstream);

/// A loaded kernel; modules stay loaded as long as the context.
#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: the driver's handles may be used from any thread that has made the context current, which
// every method does first; the capturing stream is behind a lock.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}
// SAFETY: as above.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Send for Function {}

impl Gpu {
    /// Opens device `index`; compiled kernels are kept in `cache`.
    pub fn open(index: usize, facts: &Facts, cache: Option<PathBuf>) -> BackendResult<Arc<Self>> {
        let compiler = Compiler::new(facts.arch, cache)?;
        let failed = |e: DriverError| BackendError::NoAdapter {
            wanted: format!("cuda:{index}"),
            reason: format!("{} cannot be opened: {e}", facts.name),
        };
        let device = result::device::get(index as c_int).map_err(failed)?;
        // SAFETY: `device` comes from the driver; the context is released when `Gpu` is dropped.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        // SAFETY: the context was just retained.
        unsafe { result::ctx::set_current(context) }.map_err(failed)?;
        let stream = || result::stream::create(result::stream::StreamKind::NonBlocking);
        Ok(Arc::new(Self {
            device,
            context,
            stream: stream().map_err(failed)?,
            capture: Mutex::new(Stream(stream().map_err(failed)?)),
            compiler,
            functions: Mutex::default(),
            spare: Mutex::default(),
            name: facts.name.clone(),
            allocated: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }))
    }

    /// A failure that no single op can be blamed for.
    pub fn lost(&self, error: DriverError) -> BackendError {
        BackendError::Lost { adapter: self.name.clone(), reason: error.to_string() }
    }

    /// Makes the context current on this thread.
    fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained as long as `self`.
        unsafe { result::ctx::set_current(self.context) }
    }

    /// Zero-filled device memory.
    pub fn alloc(self: &Arc<Self>, bytes: u64) -> Result<Region, DriverError> {
        self.enter()?;
        let size = bytes.max(1) as usize;
        // SAFETY: the memory is used on this stream alone and freed on it.
        let address = unsafe { result::malloc_async(self.stream, size) }?;
        let region = Region { gpu: Arc::clone(self), address, bytes };
        let now = self.allocated.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the region was just allocated with this size.
        unsafe { result::memset_d8_async(address, 0, size, self.stream) }?;
        Ok(region)
    }

    /// Bytes in use.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            allocated_bytes: self.allocated.load(Ordering::Relaxed),
            peak_bytes: self.peak.load(Ordering::Relaxed),
        }
    }

    /// Bytes that the device could still give.
    pub fn free_memory(&self) -> Result<u64, DriverError> {
        self.enter()?;
        Ok(result::mem_get_info()?.0 as u64)
    }

    /// Bytes to the device, before all later work.
    pub fn write(&self, region: &Region, offset: u64, bytes: &[u8]) -> Result<(), DriverError> {
        assert!(offset + bytes.len() as u64 <= region.bytes, "a write within its region");
        self.enter()?;
        // SAFETY: within the region; for pageable memory the driver has taken the bytes when the
        // call returns.
        unsafe { result::memcpy_htod_async(region.address + offset, bytes, self.stream) }
    }

    /// The kernel of a unit, compiled and loaded when first asked for.
    fn function(&self, unit: &Unit) -> BackendResult<Function> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = functions.get(unit) {
            return Ok(function);
        }
        let cubin = self.compiler.cubin(unit)?;
        let load = || -> Result<Function, DriverError> {
            // SAFETY: the image is whole machine code and outlives the call.
            let module = unsafe { result::module::load_data(cubin.0.as_ptr().cast()) }?;
            let name = CString::new(unit.stem).expect("stems hold no zero byte");
            // SAFETY: the module was just loaded and stays.
            Ok(Function(unsafe { result::module::get_function(module, name) }?))
        };
        let function = load().map_err(|e| BackendError::Shader {
            file: format!("{}.cu", unit.stem),
            line: 0,
            message: format!("{} cannot be loaded: {e}", unit.name()),
            dump: None,
        })?;
        functions.insert(unit.clone(), function);
        Ok(function)
    }

    /// Loads the kernel of a launch, so that capturing does not have to.
    pub fn load(&self, launch: &Launch) -> BackendResult<()> {
        self.enter().map_err(|e| self.lost(e))?;
        self.function(&launch.unit).map(|_| ())
    }

    /// A graph of launches in order, each with the bytes of its parameters.
    pub fn graph(self: &Arc<Self>, launches: &[(Launch, Vec<u8>)]) -> BackendResult<Graph> {
        let lost = |e| self.lost(e);
        self.enter().map_err(lost)?;
        let capture = self.capture.lock().unwrap_or_else(PoisonError::into_inner);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is ours alone while the lock is held.
        unsafe { result::stream::begin_capture(capture.0, mode) }.map_err(lost)?;
        let added =
            launches.iter().try_for_each(|(launch, params)| self.add(&capture, launch, params));
        // SAFETY: capturing began above; it ends whether or not all launches were added.
        let graph = unsafe { result::stream::end_capture(capture.0) }.map_err(lost);
        added?;
        let graph = graph?;
        let flags = sys::CUgraphInstantiate_flags(0);
        // SAFETY: the graph was just captured; it is destroyed once, after its executable form is
        // made or refused.
        let executable = unsafe { result::graph::instantiate(graph, flags) };
        // SAFETY: as above.
        unsafe { result::graph::destroy(graph) }.map_err(lost)?;
        Ok(Graph { gpu: Arc::clone(self), executable: executable.map_err(lost)? })
    }

    fn add(&self, capture: &Stream, launch: &Launch, params: &[u8]) -> BackendResult<()> {
        let function = self.function(&launch.unit)?;
        let mut arguments = [params.as_ptr().cast_mut().cast::<c_void>()];
        let [x, y, z] = launch.grid;
        // SAFETY: the kernel takes one struct, of which `params` holds the bytes; they are copied by
        // the call.
        let status = unsafe {
            result::launch_kernel(
                function.0,
                (x, y, z),
                (launch.threads, 1, 1),
                0,
                capture.0,
                &mut arguments,
            )
        };
        status.map_err(|e| BackendError::Shader {
            file: format!("{}.cu", launch.unit.stem),
            line: 0,
            message: format!(
                "{} cannot be launched on a grid of {:?}: {e}",
                launch.unit.name(),
                launch.grid
            ),
            dump: None,
        })
    }

    /// Runs a graph, then copies ranges of device memory (region, offset, bytes) one after the
    /// other, each to the next multiple of four bytes, into pinned memory.
    pub fn submit(
        self: &Arc<Self>,
        graph: Option<&Graph>,
        reads: &[(&Region, u64, u64)],
    ) -> Result<Flight, DriverError> {
        self.enter()?;
        let bytes: u64 = reads.iter().map(|(.., bytes)| bytes.next_multiple_of(4)).sum();
        let landing = self.landing(bytes as usize)?;
        if let Some(graph) = graph {
            // SAFETY: the graph was made on this device and lives until the work is done, since
            // destroying an executable graph waits for it.
            unsafe { result::graph::launch(graph.executable, self.stream) }?;
        }
        let mut at = 0;
        for (region, offset, bytes) in reads {
            assert!(offset + bytes <= region.bytes, "a read within its region");
            // SAFETY: both ranges are within their memory; `Flight` keeps the landing until the event
            // behind the copies has passed.
            let to =
                unsafe { std::slice::from_raw_parts_mut(landing.start.add(at), *bytes as usize) };
            // SAFETY: as above.
            unsafe { result::memcpy_dtoh_async(to, region.address + offset, self.stream) }?;
            at += bytes.next_multiple_of(4) as usize;
        }
        let flight =
            Flight { gpu: Arc::clone(self), bytes: bytes as usize, landing: Some(landing) };
        // SAFETY: event and stream are ours.
        unsafe { result::event::record(flight.event(), self.stream) }?;
        Ok(flight)
    }

    /// A landing for `bytes` bytes, a spare one if there is one. Allocating pinned memory takes
    /// longer than a step, so landings are used again.
    fn landing(&self, bytes: usize) -> Result<Landing, DriverError> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        match spare.iter().position(|landing| landing.bytes >= bytes) {
            Some(index) => Ok(spare.swap_remove(index)),
            None => Landing::new(bytes.next_power_of_two().max(4096)),
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        let capture = self.capture.get_mut().unwrap_or_else(PoisonError::into_inner).0;
        self.spare.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        // SAFETY: nothing else holds the device any more; a failure here leaves nothing to do.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            let _ = result::stream::destroy(self.stream);
            let _ = result::stream::destroy(capture);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// Device memory.
pub struct Region {
    gpu: Arc<Gpu>,
    address: sys::CUdeviceptr,
    bytes: u64,
}

impl Region {
    /// Device address of the first byte.
    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.gpu.allocated.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.gpu.enter().is_ok() {
            // SAFETY: allocated on this stream and freed once; earlier work on it still runs before.
            let _ = unsafe { result::free_async(self.address, self.gpu.stream) };
        }
    }
}

/// Launches ready to run again and again.
pub struct Graph {
    gpu: Arc<Gpu>,
    executable: sys::CUgraphExec,
}

// SAFETY: as for `Gpu`; launches of one graph are ordered by the one stream.
unsafe impl Send for Graph {}
// SAFETY: as above.
unsafe impl Sync for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.gpu.enter().is_ok() {
            // SAFETY: made by `Gpu::graph` and destroyed once.
            let _ = unsafe { result::graph::exec_destroy(self.executable) };
        }
    }
}

/// Host memory that the device can write, and the event behind what is written.
struct Landing {
    start: *mut u8,
    bytes: usize,
    event: sys::CUevent,
}

// SAFETY: owned memory and a driver's handle; see `Gpu`.
unsafe impl Send for Landing {}

impl Landing {
    fn new(bytes: usize) -> Result<Self, DriverError> {
        const FLAGS: c_uint = 0;
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        // SAFETY: the context is current; freed when dropped.
        let start = match unsafe { result::malloc_host(bytes, FLAGS) } {
            Ok(start) => start.cast::<u8>(),
            Err(error) => {
                // SAFETY: just created.
                unsafe { result::event::destroy(event) }?;
                return Err(error);
            }
        };
        // SAFETY: `bytes` bytes were just allocated; zeroed, so that padding is defined.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Self { start, bytes, event })
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // SAFETY: made by `new` and released once, when no copy into it is under way. A failure
        // leaves nothing to do.
        unsafe {
            let _ = result::event::destroy(self.event);
            let _ = result::free_host(self.start.cast());
        }
    }
}

/// A submission under way.
pub struct Flight {
    gpu: Arc<Gpu>,
    bytes: usize,
    /// There until dropped.
    landing: Option<Landing>,
}

impl Flight {
    fn event(&self) -> sys::CUevent {
        self.landing.as_ref().expect("only `drop` takes it").event
    }

    /// True once all of it is done.
    pub fn is_done(&self) -> Result<bool, DriverError> {
        self.gpu.enter()?;
        // SAFETY: the event was recorded.
        match unsafe { result::event::query(self.event()) } {
            Ok(()) => Ok(true),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits, and gives the bytes read.
    pub fn wait(self) -> Result<Vec<u8>, DriverError> {
        self.gpu.enter()?;
        // SAFETY: the event was recorded; behind it the copies are done.
        unsafe { result::event::synchronize(self.event()) }?;
        let landing = self.landing.as_ref().expect("only `drop` takes it");
        // SAFETY: the landing has at least as many bytes, all of them initialised.
        Ok(unsafe { std::slice::from_raw_parts(landing.start, self.bytes) }.to_vec())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(landing) = self.landing.take() else { return };
        // SAFETY: the event is ours. The copies must be done before their target is used again.
        let done =
            self.gpu.enter().and_then(|()| unsafe { result::event::synchronize(landing.event) });
        match done {
            Ok(()) => self.gpu.spare.lock().unwrap_or_else(PoisonError::into_inner).push(landing),
            // a device that is lost may still write there: better kept than freed
            Err(_) => std::mem::forget(landing),
        }
    }
}
