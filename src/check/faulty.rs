//! A device that is wrong on purpose, to prove that the op table and the programs around it notice.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    backend::{
        AdapterReport, Backend, BackendError, BackendResult, Buffer, BufferDesc, Download,
        MemoryUse, Peaks, Prepared, SharedBackend, Support, Ticket, View, Wait,
    },
    error::{Error, Result},
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
    /// The bits of the last element of the output are all ones, as of a value computed from stale
    /// memory: the harness's first pattern.
    Ones,
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
    /// Runs never end.
    Hang,
    /// The process ends without a word when it runs.
    Crash,
    /// Runs take half as long again: all, or those that begin with this op.
    Slow(Option<&'static str>),
}

impl Fault {
    /// Those that have a name on the command line.
    const NAMED: [(&'static str, Self); 14] = [
        ("wrong-tail", Self::WrongTail),
        ("unwritten", Self::Unwritten),
        ("ones", Self::Ones),
        ("nan", Self::Nan),
        ("write-after", Self::WriteAfter),
        ("write-before", Self::WriteBefore),
        ("changed-input", Self::ChangedInput),
        ("row-count", Self::RowCount),
        ("not-repeatable", Self::NotRepeatable),
        ("stale-replay", Self::StaleReplay),
        ("lost", Self::Lost),
        ("hang", Self::Hang),
        ("crash", Self::Crash),
        ("slow", Self::Slow(None)),
    ];
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        if let Some(op) = given.strip_prefix("slow=") {
            let op = Op::NAMES.iter().find(|name| **name == op);
            let op = op.ok_or_else(|| Error::invalid(format!("`{given}` names no op")))?;
            return Ok(Self::Slow(Some(op)));
        }
        let found = Self::NAMED.into_iter().find(|(name, _)| *name == given);
        found.map(|(_, fault)| fault).ok_or_else(|| Error::Invalid {
            message: format!("`{given}` names no fault"),
            hint: Some(format!("one of {}", Self::NAMED.map(|(name, _)| name).join(", "))),
        })
    }
}

/// The wrapped device with its fault. Most faults are applied to the bytes read back.
pub struct Faulty {
    inner: SharedBackend,
    fault: Fault,
    runs: AtomicUsize,
    prepared: AtomicUsize,
    first: Mutex<Option<Vec<u8>>>,
    /// What was last written to a place of a buffer: its id and the offset.
    written: Mutex<HashMap<(u64, u64), Vec<u8>>>,
}

struct Work {
    inner: Prepared,
    output: Option<View>,
    input: Option<View>,
    first: Option<&'static str>,
    ops: usize,
    rows: usize,
    index: usize,
}

impl Faulty {
    /// A device with a fault.
    pub fn new(inner: SharedBackend, fault: Fault) -> Self {
        let (runs, prepared) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let written = Mutex::new(HashMap::new());
        Self { inner, fault, runs, prepared, first: Mutex::new(None), written }
    }

    /// Plants the fault in the download, which holds whole buffers.
    fn spoil(&self, download: &mut Download, reads: &[View], work: &Work) {
        let Some(output) = &work.output else { return };
        let size = output.dtype.size();
        let start = output.offset as usize;
        let end = start + output.span_bytes() as usize;
        let Some(buffer) = reads.iter().position(|v| v.buffer.id() == output.buffer.id()) else {
            return;
        };
        let (from, to) = download.ranges[buffer];
        let bytes = &mut download.bytes[from..to];
        // A fault needs an element to sit in.
        if end - start < size || (self.fault == Fault::WriteAfter && end >= bytes.len()) {
            return;
        }
        let last = end - size..end;
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::WrongTail | Fault::Nan if size != 4 => bytes[start] ^= 1,
            Fault::WrongTail => {
                let value = f32::from_le_bytes(word(&bytes[last.clone()]));
                bytes[last].copy_from_slice(&(value + value.abs() * 1e-3 + 1e-3).to_le_bytes());
            }
            Fault::Unwritten => {
                let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                let before = written.get(&(output.buffer.id(), 0));
                if let Some(before) = before.and_then(|b| b.get(last.clone())) {
                    bytes[last].copy_from_slice(before);
                }
            }
            Fault::Ones => bytes[last].fill(0xff),
            Fault::Nan => bytes[last].copy_from_slice(&f32::NAN.to_le_bytes()),
            Fault::WriteAfter => bytes[end] ^= 1,
            Fault::WriteBefore => bytes[start - 1] ^= 1,
            Fault::RowCount if work.ops == 1 && work.rows > 1 => bytes[start] ^= 1,
            Fault::NotRepeatable => bytes[start] ^= (run % 2) as u8,
            Fault::StaleReplay => {
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                let now = bytes[start..end].to_vec();
                bytes[start..end].copy_from_slice(first.get_or_insert(now));
            }
            Fault::Recording(index) if index == work.index => bytes[start] ^= 1,
            Fault::ChangedInput => {
                let Some(input) = &work.input else { return };
                let at = reads.iter().position(|v| v.buffer.id() == input.buffer.id());
                let Some(at) = at else { return };
                download.bytes[download.ranges[at].0 + input.offset as usize] ^= 1;
            }
            Fault::None
            | Fault::Refused
            | Fault::Lost
            | Fault::Failing
            | Fault::Hang
            | Fault::Crash
            | Fault::Slow(_)
            | Fault::RowCount
            | Fault::Recording(_) => {}
        }
    }
}

fn word(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("outputs of another size are left alone")
}

impl Backend for Faulty {
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
        if self.fault == Fault::Unwritten {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.insert((dst.buffer.id(), dst.offset), bytes.into());
        }
        self.inner.write(dst, bytes)
    }

    fn prepare(&self, recording: &Recording) -> BackendResult<Prepared> {
        let inner = self.inner.prepare(recording)?;
        let operands = recording.nodes.first().map(|node| node.op.operands()).unwrap_or_default();
        let view = |written: bool| {
            let found = operands.iter().find(|o| (o.access != Access::Read) == written);
            found.map(|operand| operand.view.clone())
        };
        let (output, input, ops) = (view(true), view(false), recording.nodes.len());
        let first = recording.nodes.first().map(|node| node.op.name());
        let rows = output.as_ref().map_or(0, |view| view.shape.dim(0));
        let index = self.prepared.fetch_add(1, Ordering::Relaxed);
        let device = inner.device;
        Ok(Prepared {
            device,
            inner: Box::new(Work { inner, output, input, first, ops, rows, index }),
        })
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
            Fault::Hang => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            Fault::Crash => std::process::abort(),
            _ => {}
        }
        let started = Instant::now();
        let ticket = self.inner.submit(&work.inner, reads)?;
        let mut download = self.inner.finish(ticket, Wait::Park)?;
        let slow = match self.fault {
            Fault::Slow(op) => op.is_none() || op == work.first,
            _ => false,
        };
        if slow {
            let end = started.elapsed().mul_f64(1.5);
            while started.elapsed() < end {
                std::hint::spin_loop();
            }
        }
        self.spoil(&mut download, reads, work);
        Ok(Ticket { inner: Box::new(download) })
    }

    fn finish(&self, ticket: Ticket, _wait: Wait) -> BackendResult<Download> {
        let download = ticket.inner.downcast().map_err(|_| BackendError::ForeignDevice {
            what: "submission".into(),
            adapter: self.adapter().name.clone(),
        })?;
        Ok(*download)
    }

    fn free_memory(&self) -> Option<u64> {
        self.inner.free_memory()
    }

    fn peaks(&self) -> BackendResult<Peaks> {
        self.inner.peaks()
    }

    fn memory(&self) -> MemoryUse {
        self.inner.memory()
    }
}
