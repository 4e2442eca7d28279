//! What a machine without a GPU runs on: SIMD chosen at run time, threads that walk a recording
//! together.
//!
//! [`simd`] has the kernels, one file per family of ops as in [`crate::ops`]; an op becomes
//! [`simd::stage::Stages`], a recording a `plan::FastPlan`, and a `team::Team` runs it. No sum is split
//! among threads and none depends on the number of rows, so a row has the same bits at any M, for
//! any number of threads, and with any instruction set.

mod lower;
mod peaks;
mod plan;
pub mod simd;
mod team;

use std::fs;

use super::{Cpu, Execution, Executor};
use crate::{
    backend::{
        AdapterDetails, AdapterKind, AdapterReport, BackendError, BackendResult, Peaks, Support,
        Tier,
    },
    ops::Op,
    record::Recording,
};
use lower::lower;
use plan::FastPlan;
use simd::Isa;
use team::Team;

/// Runs ops with SIMD kernels on a team of threads.
#[derive(Debug)]
pub struct Fast {
    isa: Isa,
    team: Team,
    name: String,
}

impl Cpu<Fast> {
    /// The processor with its best instruction set. 0 threads means one per core.
    pub fn fast(threads: usize) -> BackendResult<Self> {
        Self::fast_with(threads, Isa::best())
    }

    /// The processor with a given instruction set: for tests and comparisons.
    pub fn fast_with(threads: usize, isa: Isa) -> BackendResult<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let name = cpu_name();
        let team = Team::new(threads).map_err(|error| BackendError::NoAdapter {
            wanted: "cpu".into(),
            reason: format!("{threads} threads do not start: {error}"),
        })?;
        let tier = if isa.name() == "portable" { Tier::Baseline } else { Tier::Dot8 };
        let report = AdapterReport {
            selector: "cpu".into(),
            name: name.clone(),
            api: "cpu".into(),
            driver: format!("{}, {threads} threads", isa.name()),
            kind: AdapterKind::Cpu,
            tier,
            f16: true,
            subgroup: None,
            max_buffer_bytes: isize::MAX as u64,
            max_binding_bytes: isize::MAX as u64,
            workgroup_memory_bytes: 0,
            details: AdapterDetails::default(),
        };
        Ok(Self::new(report, Fast { isa, team, name }))
    }
}

impl Fast {
    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl Executor for Fast {
    type Plan = FastPlan;

    fn support(&self, _op: &Op) -> Support {
        Support::Native { variant: self.isa.name() }
    }

    fn plan(&self, recording: &Recording) -> BackendResult<FastPlan> {
        let ops = recording.nodes.iter().map(|node| lower(&node.op, self.threads(), self.isa));
        let ops = ops.collect::<Result<_, _>>()?;
        Ok(FastPlan::new(recording.clone(), ops, self.threads()))
    }

    fn peaks(&self) -> Peaks {
        peaks::measure(self.isa, self.threads())
    }

    fn run(&self, plan: &FastPlan, _execution: &mut Execution<'_>) -> BackendResult<()> {
        // SAFETY: an execution is the device, held.
        let done = unsafe { plan.run(self.isa, &self.team) };
        done.map_err(|(op, message)| {
            let node = &plan.recording.nodes[op];
            BackendError::Device {
                op: node.op.to_string(),
                adapter: self.name.clone(),
                site: node.site,
                message,
            }
        })
    }
}

/// The processor's own name, where the system tells.
fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    name.unwrap_or_else(|| format!("{} CPU", std::env::consts::ARCH))
}
