//! The eight 6-bit scales and minima that Q4_K and Q5_K squeeze into 12 bytes.
//!
//! ```text
//! byte 0..4   sc[j] bits 0..6,  bits 4..6 of sc[j+4] on top
//! byte 4..8   mn[j] bits 0..6,  bits 4..6 of mn[j+4] on top
//! byte 8..12  bits 0..4 of sc[j+4] low, of mn[j+4] high
//! ```

/// `(sc, mn)` of the eight blocks of 32.
pub(super) fn unpack(s: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut sc, mut mn) = ([0; 8], [0; 8]);
    for j in 0..4 {
        sc[j] = s[j] & 63;
        mn[j] = s[j + 4] & 63;
        sc[j + 4] = (s[j + 8] & 15) | ((s[j] >> 6) << 4);
        mn[j + 4] = (s[j + 8] >> 4) | ((s[j + 4] >> 6) << 4);
    }
    (sc, mn)
}

/// Inverse of [`unpack`]; values below 64.
pub(super) fn pack(sc: &[u8], mn: &[u8], s: &mut [u8]) {
    for j in 0..4 {
        s[j] = sc[j] | ((sc[j + 4] >> 4) << 6);
        s[j + 4] = mn[j] | ((mn[j + 4] >> 4) << 6);
        s[j + 8] = (sc[j + 4] & 15) | (mn[j + 4] << 4);
    }
}
