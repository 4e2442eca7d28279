//! From file blocks to the packed layout.

use rayon::prelude::*;

use super::{
    BLOCK, Layout, Plane, ROW_GROUP,
    block::{Block, Codec, Tile},
};
use crate::{Error, Result};

/// Groups of 16 rows that one task packs at least, so that tasks outweigh their bookkeeping.
const MIN_GROUPS: usize = 4;

/// Writes rows `first_row ..` of a packed weight from the file blocks of these rows.
///
/// Tensors that share `K` and format (q, k, v) become one weight by one call each. A last group
/// that `src` fills only partly is completed with zero rows. Groups are packed in parallel.
///
/// # Errors
/// If `first_row` is not a multiple of 16, `src` is not whole rows or does not fit, or `dst` is not
/// `layout.bytes` long.
pub fn repack_rows(layout: &Layout, first_row: usize, src: &[u8], dst: &mut [u8]) -> Result<()> {
    let Layout { format, n, k, .. } = *layout;
    let row_bytes = format.row_bytes(k).ok_or_else(|| {
        Error::invalid(format!("cannot repack {format} rows of {k} elements: not whole blocks"))
    })?;
    if !src.len().is_multiple_of(row_bytes) {
        return Err(Error::invalid(format!(
            "cannot repack {} bytes of {format}: a row of {k} elements has {row_bytes} bytes",
            src.len()
        )));
    }
    let rows = src.len() / row_bytes;
    if !first_row.is_multiple_of(ROW_GROUP) || first_row > n || rows > n - first_row {
        return Err(Error::invalid(format!(
            "cannot repack {rows} rows at row {first_row} of {n}: they must fit and start at a multiple of {ROW_GROUP}"
        )));
    }
    if dst.len() != layout.bytes {
        return Err(Error::invalid(format!(
            "cannot repack into {} bytes: {format} [{n}, {k}] takes {}",
            dst.len(),
            layout.bytes
        )));
    }
    let pack = Codec::of(format).pack_group;
    let groups: Vec<GroupMut<'_>> = groups_mut(layout, dst)
        .skip(first_row / ROW_GROUP)
        .take(rows.div_ceil(ROW_GROUP))
        .collect();
    groups
        .into_par_iter()
        .zip(src.par_chunks(ROW_GROUP * row_bytes))
        .with_min_len(MIN_GROUPS)
        .for_each(|(group, src)| pack(src, row_bytes, group));
    Ok(())
}

/// A whole packed weight from the file blocks of its rows.
///
/// # Errors
/// If `src` is not exactly `layout.n` rows.
pub fn repack(layout: &Layout, src: &[u8]) -> Result<Vec<u8>> {
    let want = layout.format.row_bytes(layout.k).and_then(|row| row.checked_mul(layout.n));
    if want != Some(src.len()) {
        return Err(Error::invalid(format!(
            "cannot repack {} bytes: {} [{}, {}] has {} in a file",
            src.len(),
            layout.format,
            layout.n,
            layout.k,
            want.unwrap_or(usize::MAX)
        )));
    }
    let mut dst = vec![0; layout.bytes];
    repack_rows(layout, 0, src, &mut dst)?;
    Ok(dst)
}

/// One group's part of each plane; absent planes are empty.
pub(super) struct GroupMut<'a> {
    codes: &'a mut [u8],
    high: &'a mut [u8],
    scales: &'a mut [u8],
    supers: &'a mut [u8],
}

fn groups_mut<'a>(layout: &Layout, dst: &'a mut [u8]) -> impl Iterator<Item = GroupMut<'a>> {
    let (mut rest, mut at) = (dst, 0);
    let mut cut = |plane: Option<Plane>| {
        let (offset, bytes, step) =
            plane.map_or((at, 0, 1), |plane| (plane.offset, plane.bytes, plane.group_bytes));
        let (_, tail) = std::mem::take(&mut rest).split_at_mut(offset - at);
        let (this, tail) = tail.split_at_mut(bytes);
        (rest, at) = (tail, offset + bytes);
        this.chunks_exact_mut(step)
    };
    let mut codes = cut(Some(layout.codes));
    let (mut high, mut scales, mut supers) =
        (cut(layout.high), cut(layout.scales), cut(layout.supers));
    std::iter::from_fn(move || {
        Some(GroupMut {
            codes: codes.next()?,
            high: high.next().unwrap_or_default(),
            scales: scales.next().unwrap_or_default(),
            supers: supers.next().unwrap_or_default(),
        })
    })
}

/// Packs up to 16 rows of `row_bytes` each.
pub(super) fn pack_group<B: Block>(src: &[u8], row_bytes: usize, group: GroupMut<'_>) {
    let unit_bytes = B::UNIT / B::FORMAT.block_elements() * B::FORMAT.block_bytes();
    let units = row_bytes / unit_bytes;
    let mut tile = Tile::ZERO;
    for u in 0..units {
        for (r, row) in src.chunks_exact(row_bytes).enumerate().take(ROW_GROUP) {
            B::pack(&row[u * unit_bytes..][..unit_bytes], r, &mut tile);
        }
        store(&tile.codes, unit_of(group.codes, u, units));
        store(&tile.high, unit_of(group.high, u, units));
        store_scales(&tile.scales[..B::UNIT / BLOCK], unit_of(group.scales, u, units));
        store_scales(&tile.supers, unit_of(group.supers, u, units));
    }
}

/// Bytes of unit `u` of `units` in a group's part of a plane.
fn unit_of(plane: &mut [u8], u: usize, units: usize) -> &mut [u8] {
    let bytes = plane.len() / units;
    &mut plane[u * bytes..][..bytes]
}

/// Writes as many words as the plane takes.
fn store(words: &[[u32; ROW_GROUP]], out: &mut [u8]) {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    out.copy_from_slice(&bytes[..out.len()]);
}

/// Writes words, or their low halves to a plane of 16-bit elements.
fn store_scales(words: &[[u32; ROW_GROUP]], out: &mut [u8]) {
    if out.len() == size_of_val(words) {
        return store(words, out);
    }
    for (out, word) in out.chunks_exact_mut(2).zip(words.as_flattened()) {
        out.copy_from_slice(&(*word as u16).to_le_bytes());
    }
}
