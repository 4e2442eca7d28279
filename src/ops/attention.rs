//! Attention of tree nodes over paged keys and values.

use super::{CheckResult, KvLayer, Operand, dense, expect, ranked, read, write};
use crate::{backend::View, dtype::DType};

/// What a row of attention may see, as state on the device.
///
/// Every row is *its own sequence*: the key at logical position `p` is in slot
/// `table[seq, head, p / P] * P + p % P` for `p < prefix`, and in `path_slots[p - prefix]` for
/// `prefix <= p < prefix + path`. The path is the row's ancestors within the tree in order of depth
/// and ends with the row itself, so a candidate node and plain decoding of its path see the same
/// keys in the same order. Rows of a prefill chunk, whose keys lie in the table already, have an
/// empty path and a prefix that ends with themselves.
#[derive(Clone, Debug)]
pub struct RowMeta {
    /// `[M]` u32: row of the block table.
    pub seq: View,
    /// `[M, 1]` or `[M, G]` u32: positions found through the table, for all heads or per KV head.
    pub prefix: View,
    /// `[M]` u32: positions found through `path_slots`, at most L.
    pub path: View,
    /// `[M, L]` u32: slots of the path.
    pub path_slots: View,
}

/// `o[m, h] = sum_p softmax_p(scale q[m, h] . k[p, g]) v[p, g]` with `g = h G / H`, over the
/// positions that the row sees; with a window `W > 0` only the last W of them. A row that sees
/// nothing (padding) gives zeros.
///
/// The sum is cut into chunks aligned to **absolute position**, so its order depends on neither M
/// nor the place where the tree begins: a node gets the same bits as plain decoding of its path.
#[derive(Clone, Debug)]
pub struct TreeAttention {
    /// `[M, H, d]` f32, rows may be strided.
    pub q: View,
    /// Pages.
    pub cache: KvLayer,
    /// `[B, 1, T]` or `[B, G, T]` u32: pages of each sequence, for all heads or per KV head.
    pub table: View,
    /// What each row sees.
    pub rows: RowMeta,
    /// `[M, H, d]` f32, rows may be strided.
    pub out: View,
    /// Factor on the scores, usually `1 / sqrt(d)`.
    pub scale: f32,
    /// Slots of a page, P.
    pub page_slots: usize,
    /// Sliding window W; 0 for none.
    pub window: usize,
    /// No row sees positions from here on: the context bucket the recording is made for.
    pub max_context: usize,
}

impl TreeAttention {
    pub(super) fn operands(&self) -> Vec<Operand<'_>> {
        let mut all = vec![read("q", &self.q)];
        all.extend(self.cache.reads());
        all.extend([
            read("table", &self.table),
            read("seq", &self.rows.seq),
            read("prefix", &self.rows.prefix),
            read("path", &self.rows.path),
            read("path_slots", &self.rows.path_slots),
            write("out", &self.out),
        ]);
        all
    }

    pub(super) fn check(&self) -> CheckResult {
        self.cache.check()?;
        let [slots, g, d] = self.cache.dims();
        let dims = ranked("q", &self.q, DType::F32, 3)?;
        let (m, h) = (dims[0], dims[1]);
        if dims[2] != d || g == 0 || !h.is_multiple_of(g) {
            return Err(format!("queries {} do not fit pages of {g} heads of {d}", self.q.shape));
        }
        expect("out", &self.out, DType::F32, dims)?;
        let per_head = |name: &str, heads: usize| {
            if heads == 1 || heads == g {
                Ok(())
            } else {
                Err(format!("operand `{name}` has {heads} heads, wanted 1 or {g}"))
            }
        };
        let table = ranked("table", &self.table, DType::U32, 3)?;
        per_head("table", table[1])?;
        dense("table", &self.table)?;
        expect("seq", &self.rows.seq, DType::U32, &[m])?;
        let prefix = ranked("prefix", &self.rows.prefix, DType::U32, 2)?;
        expect("prefix", &self.rows.prefix, DType::U32, &[m, prefix[1]])?;
        per_head("prefix", prefix[1])?;
        expect("path", &self.rows.path, DType::U32, &[m])?;
        let paths = ranked("path_slots", &self.rows.path_slots, DType::U32, 2)?;
        expect("path_slots", &self.rows.path_slots, DType::U32, &[m, paths[1]])?;
        dense("prefix", &self.rows.prefix)?;
        dense("path_slots", &self.rows.path_slots)?;
        if self.page_slots == 0 || !slots.is_multiple_of(self.page_slots) {
            return Err(format!("{slots} slots are no whole pages of {}", self.page_slots));
        }
        if self.max_context > table[2] * self.page_slots + paths[1] {
            return Err(format!(
                "max_context {} exceeds a table of {} pages of {} and a path of {}",
                self.max_context, table[2], self.page_slots, paths[1]
            ));
        }
        Ok(())
    }

    pub(super) fn summary(&self) -> String {
        let [_, g, d] = self.cache.dims();
        let (m, h) = (self.q.shape.dim(0), self.q.shape.dim(1));
        let window =
            if self.window > 0 { format!(", window={}", self.window) } else { String::new() };
        format!(
            "{}, m={m}, h={h}, g={g}, d={d}, page={}, ctx={}{window}",
            self.cache.format.name(),
            self.page_slots,
            self.max_context
        )
    }
}
