//! What all formats have in common.

use super::*;

/// Bytes from a small generator; the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn bits_of(x: &[f32]) -> Vec<u32> {
    // every NaN is one NaN: its payload may differ between orders of operands
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

#[test]
fn packed_rows_equal_decoded_rows() {
    for format in QuantFormat::ALL {
        for (n, k) in [(1, 256), (17, 512), (35, 768)] {
            let row_bytes = format.row_bytes(k).expect("whole blocks");
            let src = noise(n as u64, n * row_bytes);
            let layout = Layout::new(format, n, k).expect("fits every format");
            let packed = repack(&layout, &src).expect("whole rows");
            let packed = Packed::new(layout, &packed).expect("as long as the layout");
            let (mut want, mut got) = (vec![0.0; k], vec![0.0; k]);
            for (row, src) in src.chunks_exact(row_bytes).enumerate() {
                format.dequantize(src, &mut want).expect("one row");
                packed.row(row, &mut got);
                assert_eq!(bits_of(&want), bits_of(&got), "{format} [{n}, {k}] row {row}");
            }
            for row in n..layout.padded_rows() {
                packed.row(row, &mut got);
                assert!(got.iter().all(|&x| x == 0.0), "{format} padding row {row}");
            }
        }
    }
}
