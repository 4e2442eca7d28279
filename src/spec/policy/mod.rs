//! How much to speculate, and whether at all. Pure functions of what was measured: no clock, no
//! device, no chance, so the same measurements give the same decisions.
//!
//! * [`VerifyCurve`]: what a step costs on this device, by its number of rows, kept in a folder.
//! * [`HeadAccuracy`]: how often guess `r` of head `k` is right, counted round by round, and
//!   behind which path.
//! * [`best_tree`]: from both, the shape that promises most tokens a unit of time.
//! * [`grow`]: a tree for this round alone, from how sure the heads are.
//! * [`DraftLength`]: how long a chain to draft.
//! * [`Luck`]: how good heads are on the text at hand.
//! * [`Gate`]: falls back to plain steps where speculation does not pay.

mod accuracy;
mod curve;
mod gate;
mod grow;
mod length;
mod luck;
mod price;
mod search;

pub use accuracy::{Belief, Count, HeadAccuracy, PathChances};
pub use curve::{Between, CurveKey, CurveStore, VerifyCurve};
pub use gate::{Gate, GateReport, Step};
pub use grow::{Guess, grow};
pub use length::DraftLength;
pub use luck::{Luck, Scaled};
pub use search::{Chances, Limits, Shape, best_tree, tree_of};
