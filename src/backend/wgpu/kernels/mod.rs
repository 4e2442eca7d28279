//! What each op becomes on a GPU: shader, variant, bindings, parameters and grid, as plain data.
//!
//! A kernel's file only decides; nothing here touches a device, so plans can be made, counted and
//! checked without one.
//!
//! # Bindings
//! Every operand is a storage binding under its own name. A view may begin at any multiple of four
//! bytes, so a binding begins at the device's alignment below it and the parameters carry the rest as
//! an offset in words. WebGPU forbids one buffer to be bound as `read` and `read_write` in one dispatch,
//! but views of one buffer that do not overlap are ordinary (columns of a fused projection, an arena):
//! an operand is declared `read` unless *its buffer* is also written by the op, and then `read_write`
//! like the other. The declaration's access is a define, `<NAME>_ACCESS`, so one text serves both.

mod attention;
mod dense;
mod embed;
mod grad;
mod kv;
mod norm;
mod pointwise;
mod qmatmul;
mod stats;
mod train;
mod tree;

use super::{caps::Caps, shader::Defines};
use crate::{
    backend::{Buffer, View},
    ops::Op,
};

/// A range of a buffer under a binding's name.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub name: &'static str,
    pub buffer: Buffer,
    pub start: u64,
    pub bytes: u64,
}

/// One dispatch.
#[derive(Clone, Debug)]
pub(super) struct Dispatch {
    pub shader: &'static str,
    pub defines: Defines,
    pub constants: Vec<(&'static str, f64)>,
    pub bindings: Vec<Bound>,
    pub params: Vec<u8>,
    pub grid: [u32; 3],
}

/// Dispatches of an op, in order, or the reason why there is no way.
pub(super) type Plan = Result<Vec<Dispatch>, String>;

/// Chooses kernels for an op.
pub(super) fn plan(op: &Op, caps: &Caps) -> Plan {
    match op {
        Op::Embed(op) => embed::plan(op, caps),
        Op::RmsNorm(op) => norm::rms_norm(op, caps),
        Op::AddRmsNorm(op) => norm::add_rms_norm(op, caps),
        Op::HeadRmsNorm(op) => norm::head_rms_norm(op, caps),
        Op::QMatMul(op) => qmatmul::plan(op, caps),
        Op::Rope(op) => pointwise::rope(op, caps),
        Op::KvWrite(op) => kv::write(op, caps),
        Op::KvCommit(op) => kv::commit(op, caps),
        Op::TreeAttention(op) => attention::plan(op, caps),
        Op::GateMul(op) => pointwise::gate_mul(op, caps),
        Op::GatherRows(op) => pointwise::gather_rows(op, caps),
        Op::Copy(op) => pointwise::copy(op, caps),
        Op::Fill(op) => pointwise::fill(op, caps),
        Op::Add(op) => pointwise::add(op, caps),
        Op::SiluAdd(op) => pointwise::silu_add(op, caps),
        Op::RowStats(op) => stats::row_stats(op, caps),
        Op::TopK(op) => stats::top_k(op, caps),
        Op::BuildTree(op) => tree::build(op, caps),
        Op::GrowTree(op) => tree::grow(op, caps),
        Op::VerifyTree(op) => tree::verify(op, caps),
        Op::MatMul(op) => dense::mat_mul(op, caps),
        Op::SiluGrad(op) => train::silu_grad(op, caps),
        Op::ColumnSums(op) => train::column_sums(op, caps),
        Op::RowSquares(op) => train::row_squares(op, caps),
        Op::SoftmaxXent(op) => train::softmax_xent(op, caps),
        Op::AdamW(op) => train::adamw(op, caps),
        Op::SpanSoftmax(op) => grad::span_softmax(op, caps),
        Op::SoftmaxGrad(op) => grad::softmax_grad(op, caps),
        Op::RmsNormGrad(op) => grad::rms_norm_grad(op, caps),
        Op::GateGrad(op) => grad::gate_grad(op, caps),
        Op::SoftmaxKl(op) => grad::softmax_kl(op, caps),
    }
}

/// Name and type of a field of a shader's `Params`, in order; each takes four bytes.
pub type Fields = &'static [(&'static str, &'static str)];

/// Parameter structs by shader: the Rust side of what `tests/shaders.rs` compares with WGSL.
pub const PARAMS: &[(&str, Fields)] = &[
    ("add", pointwise::AddParams::FIELDS),
    ("add_rms_norm", norm::AddRmsNormParams::FIELDS),
    ("build_tree", tree::BuildParams::FIELDS),
    ("adamw", train::AdamWParams::FIELDS),
    ("column_sums", train::ColumnSumsParams::FIELDS),
    ("copy", pointwise::CopyParams::FIELDS),
    ("embed", embed::Params::FIELDS),
    ("fill", pointwise::FillParams::FIELDS),
    ("gate_grad", grad::GateGradParams::FIELDS),
    ("gate_mul", pointwise::GateMulParams::FIELDS),
    ("gather_rows", pointwise::GatherRowsParams::FIELDS),
    ("grow_tree", tree::GrowParams::FIELDS),
    ("head_rms_norm", norm::HeadRmsNormParams::FIELDS),
    ("kv_commit", kv::CommitParams::FIELDS),
    ("kv_write", kv::WriteParams::FIELDS),
    ("mat_mul", dense::Params::FIELDS),
    ("qmatmul", qmatmul::Params::FIELDS),
    ("rms_norm", norm::RmsNormParams::FIELDS),
    ("rms_norm_grad", grad::RmsNormGradParams::FIELDS),
    ("rope", pointwise::RopeParams::FIELDS),
    ("row_squares", train::RowSquaresParams::FIELDS),
    ("row_stats", stats::RowStatsParams::FIELDS),
    ("silu_add", pointwise::SiluAddParams::FIELDS),
    ("silu_grad", train::SiluGradParams::FIELDS),
    ("softmax_grad", grad::SoftmaxGradParams::FIELDS),
    ("softmax_kl", grad::SoftmaxKlParams::FIELDS),
    ("softmax_xent", train::SoftmaxXentParams::FIELDS),
    ("span_softmax", grad::SpanSoftmaxParams::FIELDS),
    ("top_k", stats::TopKParams::FIELDS),
    ("tree_attention", attention::Params::FIELDS),
    ("verify_tree", tree::VerifyParams::FIELDS),
];

/// A `#[repr(C)]` struct of four-byte fields and its field table.
macro_rules! params {
    ($name:ident { $($field:ident: $ty:ident),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        pub(super) struct $name { $($field: $ty,)* }

        impl $name {
            pub(super) const FIELDS: super::Fields =
                &[$((stringify!($field), stringify!($ty)),)*];
        }
    };
}
use params;

/// Invocations of a workgroup where each does one independent element.
const POINTWISE_LANES: u32 = 64;

/// Most workgroups along one axis of a grid (WebGPU's default limit, and D3D12's).
const MAX_GROUPS: usize = 65535;

/// A grid of at least `groups` workgroups; `group_index` in `shared/grid.wgsl` undoes it.
fn fold(groups: usize) -> Result<[u32; 3], String> {
    let y = groups.div_ceil(MAX_GROUPS).max(1);
    if y > MAX_GROUPS {
        return Err(format!("{groups} workgroups exceed a grid"));
    }
    let x = groups.div_ceil(y).max(1);
    Ok([word(x)?, word(y)?, 1])
}

/// A size as a 32-bit parameter.
fn word(value: usize) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{value} exceeds 32 bits"))
}

/// Collects one dispatch.
struct Builder<'a> {
    caps: &'a Caps,
    shader: &'static str,
    defines: Defines,
    constants: Vec<(&'static str, f64)>,
    bindings: Vec<(Bound, bool)>,
}

impl<'a> Builder<'a> {
    fn new(shader: &'static str, caps: &'a Caps) -> Self {
        Self { caps, shader, defines: Defines::new(), constants: Vec::new(), bindings: Vec::new() }
    }

    /// Defines a name, as a flag if `value` is empty.
    fn define(&mut self, name: &str, value: impl Into<String>) {
        self.defines.insert(name.into(), value.into());
    }

    /// Sets an `override` constant.
    fn constant(&mut self, name: &'static str, value: u32) {
        self.constants.push((name, f64::from(value)));
    }

    /// Binds a view that the op reads; gives its offset in words.
    fn read(&mut self, name: &'static str, view: &View) -> Result<u32, String> {
        self.bind(name, view, false)
    }

    /// Binds a view that the op writes; gives its offset in words.
    fn write(&mut self, name: &'static str, view: &View) -> Result<u32, String> {
        self.bind(name, view, true)
    }

    fn bind(&mut self, name: &'static str, view: &View, written: bool) -> Result<u32, String> {
        let end = view.offset + view.span_bytes();
        let start = view.offset - view.offset % self.caps.offset_align_bytes;
        self.bind_range(name, &view.buffer, start, end - start, written)?;
        word((view.offset - start) as usize / 4)
    }

    /// Binds bytes of a buffer from an aligned `start`.
    fn bind_range(
        &mut self,
        name: &'static str,
        buffer: &Buffer,
        start: u64,
        bytes: u64,
        written: bool,
    ) -> Result<(), String> {
        // A binding holds whole words, and at least one vector; buffers are padded for that.
        let bytes = bytes.next_multiple_of(16).max(16);
        if bytes > self.caps.max_binding_bytes {
            return Err(format!(
                "operand `{name}` spans {bytes} bytes but a binding holds {}",
                self.caps.max_binding_bytes
            ));
        }
        self.bindings.push((Bound { name, buffer: buffer.clone(), start, bytes }, written));
        Ok(())
    }

    /// The dispatch of `groups` workgroups.
    fn finish(mut self, params: impl bytemuck::Pod, groups: usize) -> Result<Dispatch, String> {
        let most = self.caps.max_storage_buffers as usize;
        if self.bindings.len() > most {
            return Err(format!(
                "{} storage buffers, the device binds {most}",
                self.bindings.len()
            ));
        }
        let written: Vec<u64> =
            self.bindings.iter().filter(|(_, w)| *w).map(|(b, _)| b.buffer.id()).collect();
        for (bound, _) in &self.bindings {
            let shared = written.contains(&bound.buffer.id());
            let access = if shared { "read_write" } else { "read" };
            self.defines
                .insert(format!("{}_ACCESS", bound.name.to_ascii_uppercase()), access.into());
        }
        if self.caps.immediates {
            self.defines.insert("IMMEDIATES".into(), String::new());
        }
        Ok(Dispatch {
            shader: self.shader,
            defines: self.defines,
            constants: self.constants,
            bindings: self.bindings.into_iter().map(|(bound, _)| bound).collect(),
            params: bytemuck::bytes_of(&params).to_vec(),
            grid: fold(groups)?,
        })
    }

    /// The dispatch of one invocation per element.
    fn finish_elements(
        mut self,
        params: impl bytemuck::Pod,
        elements: usize,
    ) -> Result<Dispatch, String> {
        // Element numbers are 32-bit in the shaders.
        word(elements)?;
        self.constant("WG", POINTWISE_LANES);
        self.finish(params, elements.div_ceil(POINTWISE_LANES as usize))
    }
}

/// Row stride in words.
fn stride(view: &View) -> Result<u32, String> {
    word(view.row_stride * view.dtype.size() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_fold_at_the_axis_limit() {
        assert_eq!(fold(0), Ok([1, 1, 1]));
        assert_eq!(fold(65535), Ok([65535, 1, 1]));
        for groups in [65536, 65537, 200_000, 65535 * 65535] {
            let [x, y, z] = fold(groups).expect("fits");
            assert!(x <= 65535 && y <= 65535 && z == 1);
            assert!(x as usize * y as usize >= groups, "{groups}");
            assert!((x as usize * y as usize - groups) < y as usize, "no waste beyond a row");
        }
        assert!(fold(65535 * 65535 + 1).is_err());
    }
}
