//! Selection of rows.

use crate::{backend::cpu::Operands, ops::GatherRows};

pub(super) fn gather_rows<'e>(op: &'e GatherRows, operands: &Operands<'e>) {
    let src = operands.read::<f32>(&op.src);
    let rows = operands.read::<u32>(&op.rows);
    let mut dst = operands.write::<f32>(&op.dst);
    for (m, dst) in dst.iter_mut().enumerate() {
        let r = rows.at(m) as usize;
        if r < src.len() {
            dst.copy_from_slice(src.row(r));
        } else {
            dst.fill(0.0);
        }
    }
}
