//! Sizes and offsets of the planes of a packed weight.

use super::{BLOCK, PLANE_ALIGN, QuantFormat, ROW_GROUP, SUPER_BLOCK};

/// What a plane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneRole {
    /// Low bits of the codes, or the values of an unquantised weight.
    Codes,
    /// High bits of the codes.
    High,
    /// Scales (and minima) of each block of 32.
    Scales,
    /// Scales (and minima) of each super-block of 256.
    Supers,
}

/// One plane of a packed weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plane {
    /// What it holds.
    pub role: PlaneRole,
    /// First byte within the packed weight, a multiple of [`PLANE_ALIGN`].
    pub offset: usize,
    /// Bytes without padding.
    pub bytes: usize,
    /// Bytes of one group of 16 rows.
    pub group_bytes: usize,
}

/// Where everything lies in a packed weight `[N, K]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Format.
    pub format: QuantFormat,
    /// Rows (outputs).
    pub n: usize,
    /// Columns (inputs).
    pub k: usize,
    /// Codes plane.
    pub codes: Plane,
    /// High-bits plane.
    pub high: Option<Plane>,
    /// Scales plane.
    pub scales: Option<Plane>,
    /// Super-block plane.
    pub supers: Option<Plane>,
    /// Bytes of the whole packed weight, a multiple of [`PLANE_ALIGN`].
    pub bytes: usize,
}

impl Layout {
    /// Layout of `[n, k]` in `format`; `None` if `k` is not a multiple of
    /// [`QuantFormat::k_multiple`], a dimension is zero or a size overflows.
    pub fn new(format: QuantFormat, n: usize, k: usize) -> Option<Self> {
        use QuantFormat as F;
        if n == 0 || k == 0 || !k.is_multiple_of(format.k_multiple()) {
            return None;
        }
        let (blocks, supers) = (k / BLOCK, k / SUPER_BLOCK);
        // bytes of each plane for one row
        let (codes, high, scales, sup) = match format {
            F::F32 => (k.checked_mul(4)?, 0, 0, 0),
            F::F16 | F::BF16 => (k.checked_mul(2)?, 0, 0, 0),
            F::Q8_0 => (blocks * 32, 0, blocks * 2, 0),
            F::Q4_0 => (blocks * 16, 0, blocks * 2, 0),
            F::Q4_1 => (blocks * 16, 0, blocks * 4, 0),
            F::Q5_0 => (blocks * 16, blocks * 4, blocks * 2, 0),
            F::Q5_1 => (blocks * 16, blocks * 4, blocks * 4, 0),
            F::Q4_K => (blocks * 16, 0, blocks * 2, supers * 4),
            F::Q5_K => (blocks * 16, blocks * 4, blocks * 2, supers * 4),
            F::Q6_K => (blocks * 16, blocks * 8, blocks * 2, supers * 2),
            F::Q3_K => (blocks * 8, blocks * 4, blocks * 2, supers * 2),
            F::Q2_K => (blocks * 8, 0, blocks * 2, supers * 4),
        };
        let groups = n.div_ceil(ROW_GROUP);
        let mut end = 0usize;
        let mut plane = |role, row_bytes: usize| -> Option<Option<Plane>> {
            if row_bytes == 0 {
                return Some(None);
            }
            let group_bytes = row_bytes.checked_mul(ROW_GROUP)?;
            let bytes = group_bytes.checked_mul(groups)?;
            let offset = end;
            end = end.checked_add(bytes)?.checked_next_multiple_of(PLANE_ALIGN)?;
            Some(Some(Plane { role, offset, bytes, group_bytes }))
        };
        let codes = plane(PlaneRole::Codes, codes)??;
        let high = plane(PlaneRole::High, high)?;
        let scales = plane(PlaneRole::Scales, scales)?;
        let supers = plane(PlaneRole::Supers, sup)?;
        Some(Self { format, n, k, codes, high, scales, supers, bytes: end })
    }

    /// Rows after padding.
    pub fn padded_rows(&self) -> usize {
        self.n.next_multiple_of(ROW_GROUP)
    }

    /// Groups of 16 rows.
    pub fn groups(&self) -> usize {
        self.n.div_ceil(ROW_GROUP)
    }

    /// The planes present, in order of their offsets.
    pub fn planes(&self) -> impl Iterator<Item = Plane> {
        [Some(self.codes), self.high, self.scales, self.supers].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_do_not_overlap_and_are_aligned() {
        for format in QuantFormat::ALL {
            for n in [1, 15, 16, 17, 100] {
                let layout = Layout::new(format, n, 512).expect("512 suits every format");
                let mut end = 0;
                for plane in layout.planes() {
                    assert!(plane.offset >= end && plane.offset.is_multiple_of(PLANE_ALIGN));
                    assert_eq!(plane.bytes, plane.group_bytes * layout.groups());
                    end = plane.offset + plane.bytes;
                }
                assert!(layout.bytes >= end);
            }
        }
    }

    #[test]
    fn unfit_shapes_have_no_layout() {
        assert!(Layout::new(QuantFormat::Q4_K, 4, 576).is_none());
        assert!(Layout::new(QuantFormat::Q4_1, 4, 33).is_none());
        assert!(Layout::new(QuantFormat::F32, 0, 32).is_none());
        assert!(Layout::new(QuantFormat::F32, usize::MAX / 2, 32).is_none());
    }
}
