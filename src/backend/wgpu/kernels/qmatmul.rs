//! Packed weights times rows: variants by format, tier and number of rows.

use super::{Builder, Plan, params, stride, word};
use crate::{
    backend::wgpu::caps::Caps,
    ops::{Activations, QMatMul, Then, Weight},
    quant::{BLOCK, Layout, PlaneRole, ROW_GROUP, activations::Code},
};

/// Groups of 16 rows that slabs come in multiples of: then every plane of a slab begins at a multiple
/// of 256 bytes, since a group's scales take at least 32 bytes.
const SLAB_GROUPS: usize = 8;

/// Rows of a weight whose planes fit into storage bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slab {
    pub first_row: usize,
    pub rows: usize,
}

impl Slab {
    /// Cuts a weight into as few slabs as the device's binding size allows.
    pub(super) fn split(layout: &Layout, caps: &Caps) -> Result<Vec<Self>, String> {
        let widest = layout.planes().map(|p| p.group_bytes).max().unwrap_or(0) as u64;
        let fit = (caps.max_binding_bytes / widest.max(1)) as usize;
        let groups = layout.groups();
        let per_slab = if fit >= groups { groups } else { fit / SLAB_GROUPS * SLAB_GROUPS };
        if per_slab == 0 {
            return Err(format!(
                "{} rows of {} {} take {} bytes but a binding holds {}",
                SLAB_GROUPS * ROW_GROUP,
                layout.k,
                layout.format,
                widest * SLAB_GROUPS as u64,
                caps.max_binding_bytes
            ));
        }
        let rows = per_slab * ROW_GROUP;
        let starts = (0..layout.n).step_by(rows);
        Ok(starts
            .map(|first_row| Self { first_row, rows: rows.min(layout.n - first_row) })
            .collect())
    }

    /// Binds the planes of these rows and defines the format.
    pub(super) fn bind(&self, b: &mut Builder<'_>, w: &Weight) -> Result<(), String> {
        b.define(&w.layout.format.name().to_ascii_uppercase(), "");
        for plane in w.layout.planes() {
            let name = match plane.role {
                PlaneRole::Codes => "w_codes",
                PlaneRole::High => "w_high",
                PlaneRole::Scales => "w_scales",
                PlaneRole::Supers => "w_supers",
            };
            let first = self.first_row / ROW_GROUP * plane.group_bytes;
            let bytes = self.rows.div_ceil(ROW_GROUP) * plane.group_bytes;
            let start = w.data.offset + (plane.offset + first) as u64;
            b.bind_range(name, &w.data.buffer, start, bytes as u64, false)?;
        }
        Ok(())
    }
}

params!(Params {
    m: u32,
    n: u32,
    blocks: u32,
    row_tiles: u32,
    col_tiles: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    bias_offset: u32,
});

/// Rows of `x` that one lane carries. May depend on M: it changes how many columns share an unpacked
/// weight, not what is computed for a column.
fn columns(m: usize) -> usize {
    match m {
        0..=1 => 1,
        2 => 2,
        3..=4 => 4,
        _ => 8,
    }
}

/// Row quads and K slices of a workgroup; constants of the device.
fn shape(caps: &Caps) -> (usize, u32) {
    // One vector of lanes and no barrier on a processor. On a GPU four lanes read 64 consecutive bytes
    // and sixteen slices keep enough loads in flight for narrow weights.
    if caps.software { (8, 1) } else { (4, 16) }
}

pub(super) fn plan(op: &QMatMul, caps: &Caps) -> Plan {
    let layout = &op.w.layout;
    let m = op.m();
    let (quads, slices) = shape(caps);
    let broadcast = slices == 1 && caps.broadcasts_eight();
    let top = match op.activations {
        Activations::Q8 => Some(i8::TOP),
        Activations::Q12 => Some(i16::TOP),
        Activations::F32 => None,
    };
    // Weights without scales are floats and see f32 rows.
    let top = top.filter(|_| layout.scales.is_some());
    // Each column of x costs a lane 32 loads per block unless lanes share them; on a processor and for
    // codes, which read x twice, more columns make programs that take a driver seconds to compile.
    let spare = !broadcast && (caps.software || top.is_some());
    let columns = if spare { columns(m).min(2) } else { columns(m) };
    let col_tiles = m.div_ceil(columns);
    let mut dispatches = Vec::new();
    for slab in Slab::split(layout, caps)? {
        let mut b = Builder::new("qmatmul", caps);
        slab.bind(&mut b, &op.w)?;
        let (x_offset, y_offset) = (b.read("x", &op.x)?, b.write("y", &op.y)?);
        let x_stride = stride(&op.x)?;
        let bias_offset = match &op.bias {
            Some(bias) => {
                b.define("BIAS", "");
                b.read("bias", bias)?
            }
            None => 0,
        };
        if op.then == Then::Add {
            b.define("ADD", "");
        }
        if let Some(top) = top {
            b.define("CODE_TOP", format!("{top:.1}"));
        }
        // Vectors of x where they are aligned; the values and their order are the same.
        let vectors = x_offset.is_multiple_of(4) && x_stride.is_multiple_of(4);
        b.define("X_TYPE", if vectors { "vec4<f32>" } else { "f32" });
        let unit = if vectors {
            b.define("X_VEC4", "");
            4
        } else {
            1
        };
        b.define("COLS", format!("{columns}u"));
        if slices > 1 {
            b.define("SLICED", "");
        } else if broadcast {
            b.define("BROADCAST", "");
        }
        b.constant("WG", word(quads)? * slices);
        b.constant("RQ", word(quads)?);
        b.constant("SLICES", slices);
        let row_tiles = slab.rows.div_ceil(4 * quads);
        let first = word(slab.first_row)?;
        let params = Params {
            m: word(m)?,
            n: word(slab.rows)?,
            blocks: word(layout.k / BLOCK)?,
            row_tiles: word(row_tiles)?,
            col_tiles: word(col_tiles)?,
            x_offset: x_offset / unit,
            x_stride: x_stride / unit,
            y_offset: y_offset + first,
            y_stride: stride(&op.y)?,
            bias_offset: bias_offset + first,
        };
        dispatches.push(b.finish(params, row_tiles * col_tiles)?);
    }
    Ok(dispatches)
}
