//! A device that is wrong on purpose, to prove that the op table notices.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use coppice::{
    backend::{
        AdapterReport, Backend, BackendError, BackendResult, Buffer, BufferDesc, Download,
        MemoryUse, Prepared, Support, Ticket, View, Wait,
    },
    ops::{Access, Op},
    record::Recording,
};

/// How the device is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: the control.
    None,
    /// The last element of the output is off by a little more than rounding.
    WrongTail,
    /// The last element of the output is left as it was.
    Unwritten,
    /// A NaN in the output.
    Nan,
    /// A word after the output is written.
    WriteAfter,
    /// The word before the output is written.
    WriteBefore,
    /// The first input is changed.
    ChangedInput,
    /// Results of several rows differ in the last bit from those of one row.
    RowCount,
    /// Each run differs in the last bit.
    NotRepeatable,
    /// The result of the first run is given for ever.
    StaleReplay,
    /// The recording prepared at this place in the order differs in the last bit.
    Recording(usize),
    /// The op is refused.
    Refused,
    /// The device is lost when it runs.
    Lost,
    /// The driver fails when it runs.
    Failing,
}

/// The wrapped device with its fault. Faults are applied to the bytes read back.
pub struct Faulty<B> {
    inner: B,
    fault: Fault,
    runs: AtomicUsize,
    prepared: AtomicUsize,
    first: Mutex<Option<Vec<u8>>>,
}

struct Work {
    inner: Prepared,
    output: View,
    input: Option<View>,
    ops: usize,
    rows: usize,
    index: usize,
}

impl<B: Backend> Faulty<B> {
    pub fn new(inner: B, fault: Fault) -> Self {
        let (runs, prepared) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { inner, fault, runs, prepared, first: Mutex::new(None) }
    }

    /// Plants the fault in the download, which holds whole buffers.
    fn spoil(&self, download: &mut Download, reads: &[View], work: &Work) {
        let output = &work.output;
        let size = output.dtype.size();
        let start = output.offset as usize;
        let end = start + output.span_bytes() as usize;
        let Some(buffer) = reads.iter().position(|v| v.buffer.id() == output.buffer.id()) else {
            return;
        };
        let (from, to) = download.ranges[buffer];
        let bytes = &mut download.bytes[from..to];
        let last = end - size..end;
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::WrongTail => {
                let value = f32::from_le_bytes(word(&bytes[last.clone()]));
                bytes[last].copy_from_slice(&(value + value.abs() * 1e-3 + 1e-3).to_le_bytes());
            }
            // the harness's first pattern
            Fault::Unwritten => bytes[last].fill(0xff),
            Fault::Nan => bytes[last].copy_from_slice(&f32::NAN.to_le_bytes()),
            Fault::WriteAfter => bytes[end] ^= 1,
            Fault::WriteBefore => bytes[start - 1] ^= 1,
            Fault::RowCount if work.ops == 1 && work.rows > 1 => bytes[start] ^= 1,
            Fault::NotRepeatable => bytes[start] ^= (run % 2) as u8,
            Fault::StaleReplay => {
                let mut first = self.first.lock().expect("nobody panics while holding it");
                let now = bytes[start..end].to_vec();
                bytes[start..end].copy_from_slice(first.get_or_insert(now));
            }
            Fault::Recording(index) if index == work.index => bytes[start] ^= 1,
            Fault::ChangedInput => {
                let input = work.input.as_ref().expect("the case has an input");
                let at = reads.iter().position(|v| v.buffer.id() == input.buffer.id());
                let (from, _) = download.ranges[at.expect("all buffers are read")];
                download.bytes[from + input.offset as usize] ^= 1;
            }
            Fault::None
            | Fault::Refused
            | Fault::Lost
            | Fault::Failing
            | Fault::RowCount
            | Fault::Recording(_) => {}
        }
    }
}

fn word(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("planted faults are for outputs of four bytes")
}

impl<B: Backend> Backend for Faulty<B> {
    fn adapter(&self) -> &AdapterReport {
        self.inner.adapter()
    }

    fn support(&self, op: &Op) -> Support {
        match self.fault {
            Fault::Refused => Support::No { reason: "refused on purpose".into() },
            _ => self.inner.support(op),
        }
    }

    fn alloc(&self, desc: &BufferDesc) -> BackendResult<Buffer> {
        self.inner.alloc(desc)
    }

    fn write(&self, dst: &View, bytes: &[u8]) -> BackendResult<()> {
        self.inner.write(dst, bytes)
    }

    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared> {
        let inner = self.inner.prepare(recording)?;
        let operands = recording.nodes[0].op.operands();
        let written = operands.iter().find(|o| o.access != Access::Read).expect("ops write");
        let input = operands.iter().find(|o| o.access == Access::Read).map(|o| o.view.clone());
        let (device, rows) = (inner.device, written.view.shape.dim(0));
        let (output, ops) = (written.view.clone(), recording.nodes.len());
        let index = self.prepared.fetch_add(1, Ordering::Relaxed);
        Ok(Prepared { device, inner: Box::new(Work { inner, output, input, ops, rows, index }) })
    }

    fn submit(&self, work: &Prepared, reads: &[View]) -> BackendResult<Ticket> {
        let adapter = self.adapter().name.clone();
        let work: &Work = work.get(work.device, &adapter)?;
        match self.fault {
            Fault::Lost => {
                return Err(BackendError::Lost { adapter, reason: "on purpose".into() });
            }
            Fault::Failing => {
                let label = "planted".into();
                return Err(BackendError::OutOfMemory {
                    label,
                    need_bytes: 1,
                    used_bytes: 0,
                    adapter,
                });
            }
            _ => {}
        }
        let ticket = self.inner.submit(&work.inner, reads)?;
        let mut download = self.inner.finish(ticket, Wait::Park)?;
        self.spoil(&mut download, reads, work);
        Ok(Ticket { inner: Box::new(download) })
    }

    fn finish(&self, ticket: Ticket, _wait: Wait) -> BackendResult<Download> {
        Ok(*ticket.inner.downcast().expect("tickets of this device hold downloads"))
    }

    fn memory(&self) -> MemoryUse {
        self.inner.memory()
    }
}
