//! [`Embed`]: rows of a packed table.

use std::marker::PhantomData;

use super::{
    Isa, Kernel, LANES, Simd,
    decode::Group,
    math,
    product::{BF16, F16, F32, Values, with_decoder},
    stage::{
        Stage, Stages,
        Touch::{ReadAny, ReadRow, WriteRow},
    },
    tensor::Tensor,
};
use crate::{
    backend::BackendResult,
    ops::Embed,
    quant::{BLOCK, Layout, QuantFormat},
};

/// One row, decoded as the matrix product decodes it.
struct Row<'a, V> {
    layout: &'a Layout,
    table: &'a [u8],
    id: usize,
    scale: f32,
    out: &'a mut [f32],
    values: PhantomData<V>,
}

impl<V: Values> Kernel for Row<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Sixteen rows are decoded for one; a token needs microseconds of it.
        let g = Group::new(self.layout, self.table, self.id / LANES);
        for (b, out) in self.out.chunks_exact_mut(BLOCK).enumerate() {
            let block = V::block(s, &g, b);
            for (q, out) in out.chunks_exact_mut(4).enumerate() {
                for (out, value) in out.iter_mut().zip(V::quad(s, &g, &block, b, q)) {
                    *out = self.scale * math::lanes(s, value)[self.id % LANES];
                }
            }
        }
    }
}

fn of<V>(_: V) -> PhantomData<V> {
    PhantomData
}

fn row(isa: Isa, layout: &Layout, table: &[u8], id: usize, scale: f32, out: &mut [f32]) {
    with_decoder!(layout.format, values => isa.run(Row { layout, table, id, scale, out, values: of(values) }),
        QuantFormat::F32 => isa.run(Row { layout, table, id, scale, out, values: of(F32) }),
        QuantFormat::F16 => isa.run(Row { layout, table, id, scale, out, values: of(F16) }),
        QuantFormat::BF16 => isa.run(Row { layout, table, id, scale, out, values: of(BF16) }));
}

/// Stages of [`Embed`]: a unit is a row.
pub fn embed(op: &Embed) -> BackendResult<Stages> {
    let (ids, out) = (Tensor::<u32>::new(&op.ids)?, Tensor::<f32>::new(&op.out)?);
    let (table, layout, scale) = (Tensor::<u8>::new(&op.table.data)?, op.table.layout, op.scale);
    let stage = Stage::new(out.rows(), 2 * out.rows() * out.width(), move |context, m| {
        // SAFETY: a unit owns its row of `out`; ids and table are only read.
        let (id, table, out) = unsafe { (ids.row(m)[0] as usize, table.dense(), out.row_mut(m)) };
        if id < layout.n {
            row(context.isa, &layout, table, id, scale, out);
        } else {
            out.fill(0.0);
        }
        Ok(())
    });
    let areas = [ids.area(ReadRow), table.area(ReadAny), out.area(WriteRow)];
    Ok(stage.by_rows(areas).into())
}
