//! The texts under `cuda/`, embedded.

macro_rules! embedded {
    ($($path:literal,)*) => {
        /// All texts by their path under `cuda/`.
        pub const FILES: &[(&str, &str)] = &[$(
            ($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/cuda/", $path))),
        )*];
    };
}

embedded! {
    "adamw.cu",
    "add.cu",
    "add_rms_norm.cu",
    "build_tree.cu",
    "column_sums.cu",
    "copy.cu",
    "embed.cu",
    "fill.cu",
    "gate_grad.cu",
    "gate_mul.cu",
    "gather_rows.cu",
    "grow_tree.cu",
    "head_rms_norm.cu",
    "kv_commit.cu",
    "kv_write.cu",
    "mat_mul.cu",
    "merge_attention.cu",
    "merge_slices.cu",
    "peak_copy.cu",
    "peak_fma.cu",
    "peak_mma.cu",
    "primitives.cu",
    "prompt_attention.cu",
    "qmatmul_f32.cu",
    "qmatmul_half.cu",
    "qmatmul_s8.cu",
    "qmatmul_tile.cu",
    "quantize_rows.cu",
    "rms_norm.cu",
    "rms_norm_grad.cu",
    "rope.cu",
    "row_squares.cu",
    "row_stats.cu",
    "silu_add.cu",
    "silu_grad.cu",
    "softmax_grad.cu",
    "softmax_kl.cu",
    "softmax_xent.cu",
    "span_softmax.cu",
    "split_rows.cu",
    "top_k.cu",
    "tree_attention.cu",
    "verify_tree.cu",
    "shared/base.cuh",
    "shared/coded.cuh",
    "shared/formats.cuh",
    "shared/noise.cuh",
    "shared/pages.cuh",
    "shared/prim.cuh",
    "shared/softmax.cuh",
}

/// Text of a file; the table holds every file that a plan names.
pub fn text(path: &str) -> &'static str {
    let file = FILES.iter().find(|(name, _)| *name == path);
    file.unwrap_or_else(|| unreachable!("cuda/{path} is not embedded")).1
}

/// Texts that kernels include, by the path they name.
pub fn headers() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().copied().filter(|(path, _)| path.starts_with("shared/"))
}
