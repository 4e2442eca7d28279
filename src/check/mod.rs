//! The op table: one list of cases for every op, run on every backend, judged by one reference.
//!
//! A [`Case`] is data: seeded tensors, an op over them, and for each output a [`Rule`] together with
//! the result of a second, naive implementation in f64 and the magnitude of its terms. [`run`] puts a
//! case through all checks on a backend:
//!
//! 1. its outputs against the reference's, by rule; no stray NaN or infinity;
//! 2. outputs are pre-filled with a pattern: elements never written are told apart from wrong ones;
//! 3. guard zones around each view, and the gaps between strided rows, stay untouched. They hold NaNs,
//!    so that a kernel that *reads* past its rows is caught by check 1;
//! 4. inputs are unchanged;
//! 5. a repeated run, over another pattern, gives the same bits;
//! 6. row `i` of M rows equals the same row alone, bit for bit, for M in [`ROW_SWEEP`] and for all;
//! 7. other recordings that must agree do, bit for bit: a node of a tree and plain decoding of its path;
//! 8. the prepared recording replayed on other contents is judged again;
//! 9. the same with all operands in one buffer, and with synthetic limits or forced tiers, which are
//!    further backends to the harness.
//!
//! The same table serves the tests and `coppice gpu-test`, which is made of
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | a whole run: devices, modes, order; gives a report and tells of progress by a callback |
//! | [`isolate`], [`worker`], [`work`] | tasks in a child process with a limit; both sides, and what they say to each other |
//! | [`target`] | a device in one of its forms, as data |
//! | [`fuzz`], [`Draw`] | random legal cases as lists of choices; the smallest that still fails |
//! | [`perf`] | times, costs, latencies, the verify curve |
//! | [`model_check`], [`synthetic`] | a small model decoded by every method |
//! | [`expect`] | known failures of drivers |
//! | [`report`] | statuses, verdicts, files of every format, comparison of two reports |
//! | [`doctor`] | which devices work and why others are missing |
//! | [`faulty`] | a device that is wrong on purpose |

mod bench;
mod case;
mod cases;
mod compare;
pub mod doctor;
mod draw;
pub mod expect;
pub mod faulty;
pub mod fuzz;
pub mod isolate;
pub mod model_check;
mod numbers;
mod outcome;
pub mod perf;
pub mod plan;
mod random;
pub mod report;
mod run;
pub mod synthetic;
pub mod target;
mod weights;
pub mod work;
pub mod worker;

pub use case::{Build, Case, Expect, Handle, Rule, Tensor, Views};
pub use cases::{cases, draw};
pub use draw::Draw;
pub use numbers::{Difference, Numbers, ULP_CLASSES};
pub use outcome::{Check, Failure, Outcome};
pub use random::Random;
pub use run::{ROW_SWEEP, Run, differences, measure, ops, run, self_check, validate};

use perf::Sizes as ModelSizes;
