//! The kernel that shows what each primitive of `cuda/shared/prim.cuh` does.

use super::{Builder, Launch};
use crate::backend::View;

/// Words that each of 32 lanes reads.
pub const IN_WORDS: usize = 16;
/// Words that each lane writes.
pub const OUT_WORDS: usize = 32;
/// Those of them that mean something.
pub const OUT_USED: usize = 27;

/// Runs every primitive once, on words `[32, 16]` u32 with results `[32, 32]` u32; `cuda/primitives.cu` says what is
/// where.
///
/// # Errors
/// Views with gaps.
pub fn launch(given: &View, got: &View) -> Result<Launch, String> {
    Builder::new("primitives").dense("in", given).dense("out", got).launch([1, 1, 1], 32)
}
