//! [`Cpu`]: the [`Backend`] around an [`Executor`].

use crate::{
    backend::{
        AdapterReport, Backend, BackendError, BackendResult, Buffer, BufferDesc, Download,
        MemoryUse, Peaks, Prepared, Support, Ticket, View, Wait,
        cpu::memory::{Execution, Host},
    },
    ops::Op,
    record::{Recording, check_op},
};

/// How one flavour of CPU device runs recordings.
pub trait Executor: Send + Sync + 'static {
    /// A prepared recording; owns the recording's views, so that their memory lives.
    type Plan: Send + Sync + 'static;

    /// Whether and how `op` runs.
    fn support(&self, op: &Op) -> Support;

    /// Prepares a recording whose ops, views and devices are checked.
    fn plan(&self, recording: &Recording) -> BackendResult<Self::Plan>;

    /// What it can do at most, measured now; nothing where speed does not matter.
    fn peaks(&self) -> Peaks {
        Peaks::default()
    }

    /// Runs it, holding the device.
    fn run(&self, plan: &Self::Plan, execution: &mut Execution<'_>) -> BackendResult<()>;
}

/// The processor as a device.
///
/// A submission runs at once, on the caller's thread and whatever threads the executor adds; its
/// errors come out of [`Backend::finish`] all the same.
#[derive(Debug)]
pub struct Cpu<E> {
    host: Host,
    report: AdapterReport,
    executor: E,
}

impl<E: Executor> Cpu<E> {
    /// A device that runs on `executor`.
    pub fn new(report: AdapterReport, executor: E) -> Self {
        Self { host: Host::new(), report, executor }
    }

    /// The executor.
    pub fn executor(&self) -> &E {
        &self.executor
    }

    fn run(&self, plan: &E::Plan, reads: &[View]) -> BackendResult<Download> {
        for view in reads {
            self.host.check(view, &self.report.name)?;
        }
        let mut execution = self.host.execution();
        self.executor.run(plan, &mut execution)?;
        let mut download = Download::default();
        for view in reads {
            let start = download.bytes.len();
            let operands = execution.operands();
            let rows = operands.read::<u8>(view);
            if view.is_dense() {
                download.bytes.extend_from_slice(rows.dense());
            } else {
                rows.iter().for_each(|row| download.bytes.extend_from_slice(row));
            }
            download.ranges.push((start, download.bytes.len()));
            let padded = download.bytes.len().next_multiple_of(4);
            download.bytes.resize(padded, 0);
        }
        Ok(download)
    }
}

impl<E: Executor> Backend for Cpu<E> {
    fn adapter(&self) -> &AdapterReport {
        &self.report
    }

    fn support(&self, op: &Op) -> Support {
        self.executor.support(op)
    }

    fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer> {
        self.host.alloc(desc, &self.report.name)
    }

    fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()> {
        self.host.check(dst, &self.report.name)?;
        if !dst.is_dense() || dst.span_bytes() != bytes.len() as u64 {
            return Err(BackendError::Range {
                label: dst.buffer.label().into(),
                message: format!(
                    "{} bytes written to {dst}, wanted a dense view of as many bytes, got {}",
                    bytes.len(),
                    dst.span_bytes()
                ),
            });
        }
        let mut execution = self.host.execution();
        execution.operands().write::<u8>(dst).dense_mut().copy_from_slice(bytes);
        Ok(())
    }

    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared> {
        for node in &recording.nodes {
            check_op(&node.op).map_err(|message| BackendError::Operand {
                op: node.op.to_string(),
                site: node.site,
                message,
            })?;
            for operand in node.op.operands() {
                self.host.check(operand.view, &self.report.name)?;
            }
            if let Support::No { reason } = self.executor.support(&node.op) {
                return Err(BackendError::Unsupported {
                    op: node.op.to_string(),
                    adapter: self.report.name.clone(),
                    reason,
                });
            }
        }
        let plan = self.executor.plan(recording)?;
        Ok(Prepared { device: self.host.device(), inner: Box::new(plan) })
    }

    fn submit(&self, work: &Prepared, reads: &[View]) -> BackendResult<Ticket> {
        let plan = work.get::<E::Plan>(self.host.device(), &self.report.name)?;
        Ok(Ticket { inner: Box::new(self.run(plan, reads)) })
    }

    fn finish(&self, ticket: Ticket, _wait: Wait) -> BackendResult<Download> {
        let done = ticket.inner.downcast::<BackendResult<Download>>();
        *done.map_err(|_| BackendError::ForeignDevice {
            what: "submission".into(),
            adapter: self.report.name.clone(),
        })?
    }

    fn memory(&self) -> MemoryUse {
        self.host.memory()
    }

    fn free_memory(&self) -> Option<u64> {
        available_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn peaks(&self) -> BackendResult<Peaks> {
        Ok(self.executor.peaks())
    }
}

/// Memory that programs can still take without swapping, as Linux reports it.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       16000 kB\nMemFree:  100 kB\nMemAvailable:    8000 kB\n";
        assert_eq!(available_bytes(text), Some(8000 * 1024));
        assert_eq!(available_bytes("MemAvailable: much"), None);
    }
}
