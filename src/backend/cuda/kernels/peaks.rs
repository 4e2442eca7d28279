//! Kernels that do one thing only, as fast as the device can.

use super::{Builder, Launch};
use crate::backend::View;

/// Threads of a block of all of them.
const THREADS: u32 = 256;
/// Multiply-adds of a thread and iteration of [`fma`]; operations are twice as many.
pub const FMA_STEPS: u64 = 32;
/// Tensor-core products of a warp and iteration of [`mma`].
pub const MMA_STEPS: u64 = 8;
/// Operations of one of them: a tile of 16 by 8 along 16.
pub const MMA_OPERATIONS: u64 = 2 * 16 * 8 * 16;

/// Copies the words of `src` to `dst`; both hold whole 16 bytes.
///
/// # Errors
/// Views beyond 32 bits.
pub fn copy(src: &View, dst: &View, blocks: usize) -> Result<Launch, String> {
    Builder::new("peak_copy")
        .dense("src", src)
        .dense("dst", dst)
        .u64("quads", (src.span_bytes() / 16) as usize)
        .launch([blocks, 1, 1], THREADS)
}

/// Chains of f32 multiply-adds; each thread leaves a number in `dst` of one a thread.
///
/// # Errors
/// Numbers beyond 32 bits.
pub fn fma(dst: &View, blocks: usize, iterations: usize) -> Result<Launch, String> {
    arithmetic("peak_fma", dst, blocks, iterations)
}

/// Chains of tensor-core products of f16 with f32 sums; likewise.
///
/// # Errors
/// Numbers beyond 32 bits.
pub fn mma(dst: &View, blocks: usize, iterations: usize) -> Result<Launch, String> {
    arithmetic("peak_mma", dst, blocks, iterations)
}

fn arithmetic(
    stem: &'static str,
    dst: &View,
    blocks: usize,
    iterations: usize,
) -> Result<Launch, String> {
    Builder::new(stem)
        .dense("dst", dst)
        .u32("iterations", iterations)
        .f32("factor", 0.999)
        .launch([blocks, 1, 1], THREADS)
}
