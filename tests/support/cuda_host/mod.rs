//! CUDA kernels on the processor: the plans and texts of the CUDA backend, compiled by the C++
//! compiler against `host.h` and run on host memory.
//!
//! What this shows: grids, arguments, indices, barriers, the order of sums. What it cannot: weak
//! memory order, and whether the twins of the PTX primitives in `cuda/shared/prim.cuh` agree with the
//! device.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use coppice::{
    backend::{
        AdapterDetails, AdapterKind, AdapterReport, BackendError, BackendResult, SharedBackend,
        Support, Tier,
        cpu::{Cpu, Execution, Executor, HostMemory},
        cuda::{
            kernels::{self, Launch, Unit},
            source,
        },
    },
    ops::Op,
    record::Recording,
};
use libloading::{Library, Symbol};

/// Runs one launch: parameters, grid, threads of a block.
type Entry = unsafe extern "C" fn(*const u8, *const u32, u32);

/// A unit, compiled by the first trial that needs it.
type Compiled = Arc<OnceLock<Result<Library, String>>>;

/// Held by the launch that runs.
static LAUNCH: Mutex<()> = Mutex::new(());

/// Compiled units, shared by all trials of the process.
static LIBRARIES: Mutex<BTreeMap<Unit, Compiled>> = Mutex::new(BTreeMap::new());

/// The device.
pub fn open() -> SharedBackend {
    let report = AdapterReport {
        selector: "cuda-host".into(),
        name: "CUDA kernels on the processor".into(),
        api: "cuda".into(),
        driver: "c++".into(),
        kind: AdapterKind::Software,
        tier: Tier::Dot8,
        f16: true,
        subgroup: Some((32, 32)),
        max_buffer_bytes: u64::MAX,
        max_binding_bytes: u64::MAX,
        workgroup_memory_bytes: 48 << 10,
        details: AdapterDetails::default(),
    };
    Arc::new(Cpu::new(report, HostCuda))
}

/// True if there is a C++ compiler.
pub fn available() -> bool {
    Command::new("c++").arg("--version").output().is_ok_and(|output| output.status.success())
}

struct HostCuda;

/// Launches in order, and the temporary memory they share.
struct HostPlan {
    launches: Vec<Launch>,
    scratch: Mutex<Vec<u64>>,
    /// Keeps the memory of the views.
    _recording: Recording,
}

impl Executor for HostCuda {
    type Plan = HostPlan;

    fn support(&self, op: &Op) -> Support {
        match kernels::plan(op) {
            Ok(_) => Support::Native { variant: "host" },
            Err(reason) => Support::No { reason },
        }
    }

    fn plan(&self, recording: &Recording) -> BackendResult<HostPlan> {
        let (mut launches, mut scratch) = (Vec::new(), 0);
        for node in &recording.nodes {
            let device = |message| BackendError::Device {
                op: node.op.to_string(),
                adapter: "CUDA kernels on the processor".into(),
                site: node.site,
                message,
            };
            let plan = kernels::plan(&node.op).map_err(device)?;
            for launch in &plan.launches {
                library(&launch.unit)
                    .get_or_init(|| compile(&launch.unit))
                    .as_ref()
                    .map_err(|e| device(e.clone()))?;
            }
            scratch = scratch.max(plan.scratch_bytes);
            launches.extend(plan.launches);
        }
        // all ones, as NaN: nothing may be read before it is written
        let scratch = Mutex::new(vec![u64::MAX; scratch.div_ceil(8) as usize + 32]);
        Ok(HostPlan { launches, scratch, _recording: recording.clone() })
    }

    fn run(&self, plan: &HostPlan, _execution: &mut Execution<'_>) -> BackendResult<()> {
        let mut scratch = plan.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        scratch.fill(u64::MAX);
        let base = scratch.as_mut_ptr() as u64;
        plan.launches.iter().try_for_each(|launch| run(launch, base.next_multiple_of(256)))
    }
}

/// Runs one launch, compiled if need be, on views of a device of [`open`] that nobody else uses meanwhile.
pub fn run_alone(launch: &Launch) -> Result<(), String> {
    library(&launch.unit).get_or_init(|| compile(&launch.unit)).as_ref().map_err(Clone::clone)?;
    run(launch, 0).map_err(|e| e.to_string())
}

/// Runs a launch whose unit is compiled, with temporary memory at an address.
fn run(launch: &Launch, scratch: u64) -> BackendResult<()> {
    let params = launch.bytes(|view| -> BackendResult<u64> {
        match view {
            None => Ok(scratch),
            Some(view) => {
                let memory: &HostMemory = view.buffer.memory(view.buffer.device(), "cuda-host")?;
                Ok(memory.as_ptr() as u64)
            }
        }
    })?;
    let cell = library(&launch.unit);
    let Some(Ok(library)) = cell.get() else { unreachable!("callers compile it") };
    // SAFETY: the text that `compile` wrote defines this function with this type.
    let entry: Symbol<'_, Entry> =
        unsafe { library.get(b"coppice_launch\0") }.expect("the trampoline is defined");
    // Shared memory is one static of the library, whoever launches it.
    let _one = LAUNCH.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: nobody else touches the device's memory; the parameters hold addresses of views that the
    // launch or its recording keeps alive, and are as long as `Params`.
    unsafe { entry(params.as_ptr(), launch.grid.as_ptr(), launch.threads) };
    Ok(())
}

fn library(unit: &Unit) -> Compiled {
    let mut all = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(unit.clone()).or_default().clone()
}

/// Compiles a unit as a shared library, or takes the one of an earlier run with the same text.
fn compile(unit: &Unit) -> Result<Library, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let defines: String =
        unit.defines.iter().map(|(name, value)| format!("#define {name} {value}\n")).collect();
    let text = format!(
        "#include \"tests/support/cuda_host/host.h\"\n{defines}{params}#line 1 \"cuda/{stem}.cu\"\n\
         {kernel}\n#line 1 \"trampoline\"\n\
         extern \"C\" void coppice_launch(const void* params, const unsigned* grid, unsigned threads) {{\n\
         Params p;\nmemcpy(&p, params, sizeof p);\nhost::launch(grid, threads, [&] {{ {stem}(p); }});\n}}\n",
        params = unit.params(),
        stem = unit.stem,
        kernel = source::text(&format!("{}.cu", unit.stem)),
    );
    let headers: String = source::headers().map(|(_, text)| text).collect();
    let host = include_str!("host.h");
    let hash = [&text, &headers, host]
        .into_iter()
        .flat_map(|t| t.bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cuda-host");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let library = folder.join(format!("{}-{hash:016x}.so", unit.stem));
    if !library.exists() {
        let source = folder.join(format!("{}-{hash:016x}.cpp", unit.stem));
        let fresh = folder.join(format!("{}-{hash:016x}.{}.new", unit.stem, std::process::id()));
        fs::write(&source, text).map_err(|e| format!("cannot write {}: {e}", source.display()))?;
        let output = Command::new("c++")
            .args([
                "-std=c++17",
                "-O1",
                "-g0",
                "-shared",
                "-fPIC",
                "-ffp-contract=off",
                "-Wall",
                "-Wno-unused",
                "-Wno-attributes",
            ])
            .arg("-I")
            .arg(root)
            .arg("-I")
            .arg(root.join("cuda"))
            .arg("-o")
            .arg(&fresh)
            .arg(&source)
            .output()
            .map_err(|e| format!("cannot run c++: {e}"))?;
        if !output.status.success() {
            return Err(format!(
                "{} does not compile: {}",
                unit.name(),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        // moved into place whole, since other processes may look for it
        fs::rename(&fresh, &library)
            .map_err(|e| format!("cannot name {}: {e}", library.display()))?;
    }
    // SAFETY: our own text; loading it runs no initialiser beyond the C++ runtime's.
    unsafe { Library::new(&library) }.map_err(|e| format!("cannot load {}: {e}", library.display()))
}
