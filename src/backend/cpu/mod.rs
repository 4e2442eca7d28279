//! The processor as a device, in two flavours that share memory and submission.
//!
//! [`Cpu::reference`] is the oracle for every backend: one plain function per op, 64-bit
//! accumulators, no cleverness. [`Cpu::fast`] is what a machine without a GPU runs on. Both are a
//! [`Cpu`] around their own [`Executor`]; memory is the only module here with `unsafe` that both
//! rely on, and its interface is safe.

mod device;
pub mod fast;
mod memory;
pub mod reference;
mod tree;

pub use device::{Cpu, Executor};
pub use memory::{Execution, Host, HostMemory, Operands, Rows, RowsMut};
