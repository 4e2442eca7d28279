//! What all formats have in common.

use proptest::prelude::*;

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

#[test]
fn concatenated_tensors_pack_like_one() {
    for format in QuantFormat::ALL {
        let (parts, k) = ([32, 16, 7], 256);
        let row_bytes = format.row_bytes(k).expect("whole blocks");
        let n = parts.iter().sum();
        let src = noise(7, n * row_bytes);
        let layout = Layout::new(format, n, k).expect("fits every format");
        let whole = repack(&layout, &src).expect("whole rows");
        // what lay there before must not shine through, least of all in padding rows
        let mut joined = vec![0xff; layout.bytes];
        let mut first = 0;
        for rows in parts {
            let part = &src[first * row_bytes..][..rows * row_bytes];
            repack_rows(&layout, first, part, &mut joined).expect("starts at a group");
            first += rows;
        }
        for plane in layout.planes() {
            let bytes = plane.offset..plane.offset + plane.bytes;
            assert_eq!(whole[bytes.clone()], joined[bytes], "{format} {:?}", plane.role);
        }
    }
}

#[test]
fn misplaced_rows_are_errors() {
    let layout = Layout::new(QuantFormat::Q4_0, 40, 64).expect("whole blocks");
    let mut dst = vec![0; layout.bytes];
    let row = vec![0; 36];
    for (first, rows) in [(1, 1), (32, 9), (48, 1), (usize::MAX - 15, 1)] {
        let result = repack_rows(&layout, first, &row.repeat(rows), &mut dst);
        assert!(result.is_err(), "{rows} rows at {first}");
    }
    assert!(repack_rows(&layout, 0, &row[1..], &mut dst).is_err());
    assert!(repack_rows(&layout, 0, &row, &mut dst[1..]).is_err());
    assert!(repack(&layout, &row).is_err());
    assert!(Packed::new(layout, &dst[1..]).is_err());
}

#[test]
fn values_that_no_block_can_hold_are_errors() {
    for format in QuantFormat::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; SUPER_BLOCK];
            x[77] = bad;
            let message = format.quantize(&x, &mut Vec::new()).expect_err("not finite").to_string();
            assert!(message.contains("value 77"), "{message}");
        }
    }
    assert!(QuantFormat::F16.quantize(&[65520.0], &mut Vec::new()).is_err());
    assert!(QuantFormat::Q4_K.quantize(&[0.0; 32], &mut Vec::new()).is_err());
    assert!(QuantFormat::Q4_0.dequantize(&[0; 17], &mut [0.0; 32]).is_err());
}

/// Largest error that rounding alone explains, for a block of range `low..=high` (zero included):
/// half a step between codes, plus the rounding of the fields that scale it.
fn bound(format: QuantFormat, low: f32, high: f32) -> f32 {
    use QuantFormat as F;
    let (range, peak) = (high - low, high.max(-low));
    // steps between codes, and the relative precision of the stored scale
    let (step, precision) = match format {
        F::F32 => return 0.0,
        F::F16 => return peak / 2048.0,
        F::BF16 => return peak / 256.0,
        F::Q8_0 => (peak / 127.0, 1.0 / 2048.0),
        F::Q4_0 => (peak / 8.0, 1.0 / 2048.0),
        F::Q5_0 => (peak / 16.0, 1.0 / 2048.0),
        F::Q4_1 => (range / 15.0, 1.0 / 2048.0),
        F::Q5_1 => (range / 31.0, 1.0 / 2048.0),
        F::Q6_K => (peak / 32.0, 1.0 / 256.0),
        F::Q3_K => (peak / 4.0, 1.0 / 64.0),
        F::Q4_K => (range / 15.0, 1.0 / 126.0),
        F::Q5_K => (range / 31.0, 1.0 / 126.0),
        F::Q2_K => (range / 3.0, 1.0 / 30.0),
    };
    step / 2.0 + 2.0 * precision * range.max(peak)
}

#[test]
fn encoding_errs_no_more_than_rounding() {
    let shapes: [fn(f32) -> f32; 4] = [|u| u, |u| u * u * u, |u| u.abs(), |u| 3.0 - u * 0.01];
    for format in QuantFormat::ALL {
        for (i, shape) in shapes.iter().enumerate() {
            for scale in [1e-3, 1.0, 1000.0] {
                let x: Vec<f32> = noise(i as u64 + 1, 8 * SUPER_BLOCK)
                    .into_iter()
                    .map(|byte| scale * shape((f32::from(byte) - 127.5) / 127.5))
                    .collect();
                let mut blocks = Vec::new();
                format.quantize(&x, &mut blocks).expect("finite");
                let mut y = vec![0.0; x.len()];
                format.dequantize(&blocks, &mut y).expect("own blocks");
                let (low, high) =
                    x.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
                let rms = (x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum::<f32>()
                    / x.len() as f32)
                    .sqrt();
                let bound = bound(format, low, high);
                assert!(rms <= bound, "{format}, shape {i} times {scale}: rms {rms} above {bound}");
            }
        }
    }
}

#[test]
fn zeros_and_extremes_survive_encoding() {
    for format in QuantFormat::ALL {
        for x in [0.0, 1.0, -1.0, 65504.0, -65504.0, 1e-7, 1e-30] {
            let mut blocks = Vec::new();
            format.quantize(&[x; SUPER_BLOCK], &mut blocks).expect("finite");
            let mut y = [0.0; SUPER_BLOCK];
            format.dequantize(&blocks, &mut y).expect("own blocks");
            let worst = y.iter().fold(0f32, |worst, y| worst.max((y - x).abs()));
            // f16 cannot scale what is below its smallest number
            let bound = bound(format, x.min(0.0), x.max(0.0)) + 128.0 * 6e-8;
            assert!(worst <= bound, "{format} of {x}: {worst} above {bound}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(
        format in proptest::sample::select(&QuantFormat::ALL),
        src in proptest::collection::vec(any::<u8>(), 0..2000),
        elements in 0usize..2000,
        (n, k) in (0usize..40, 0usize..600),
        first in 0usize..64,
    ) {
        let _ = format.dequantize(&src, &mut vec![0.0; elements]);
        let whole = src.len() / format.block_bytes();
        let mut out = vec![0.0; whole * format.block_elements()];
        format.dequantize(&src[..whole * format.block_bytes()], &mut out).expect("whole blocks");
        let values: Vec<f32> =
            src.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect();
        let _ = format.quantize(&values, &mut Vec::new());
        if let Some(layout) = Layout::new(format, n, k) {
            let mut dst = vec![0; layout.bytes];
            let _ = repack_rows(&layout, first, &src, &mut dst);
        }
    }

    #[test]
    fn finite_values_stay_finite(
        format in proptest::sample::select(&QuantFormat::ALL),
        x in proptest::collection::vec(-65504f32..65504.0, SUPER_BLOCK),
    ) {
        let mut blocks = Vec::new();
        format.quantize(&x, &mut blocks).expect("finite");
        let mut y = vec![0.0; SUPER_BLOCK];
        format.dequantize(&blocks, &mut y).expect("own blocks");
        prop_assert!(y.iter().all(|y| y.is_finite()));
    }
}

/// K-quants once more, element by element in the order of the format table, sharing nothing with
/// the decoders.
mod naive {
    use super::*;

    fn half(block: &[u8], at: usize) -> f32 {
        half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
    }

    fn six_bit(s: &[u8], j: usize) -> (f32, f32) {
        let (sc, mn) = if j < 4 {
            (s[j] % 64, s[j + 4] % 64)
        } else {
            (s[j + 4] % 16 + 16 * (s[j - 4] / 64), s[j + 4] / 16 + 16 * (s[j] / 64))
        };
        (f32::from(sc), f32::from(mn))
    }

    fn element(format: QuantFormat, x: &[u8], k: usize) -> f32 {
        let bit = |byte: u8, at: usize| byte / (1 << at) % 2;
        let two = |byte: u8, row: usize| byte / (1 << (2 * row)) % 4;
        match format {
            QuantFormat::Q4_K | QuantFormat::Q5_K => {
                let (chunk, upper, l) = (k / 64, k % 64 / 32, k % 32);
                let five = format == QuantFormat::Q5_K;
                let byte = x[if five { 48 } else { 16 } + 32 * chunk + l];
                let nibble = if upper == 1 { byte / 16 } else { byte % 16 };
                let high = if five { bit(x[16 + l], 2 * chunk + upper) } else { 0 };
                let (sc, mn) = six_bit(&x[4..16], k / 32);
                half(x, 0) * sc * f32::from(nibble + 16 * high) - half(x, 2) * mn
            }
            QuantFormat::Q6_K => {
                let (h, t, l) = (k / 128, k % 128 / 32, k % 32);
                let (ql, qh) = (&x[64 * h..], x[128 + 32 * h + l]);
                let low = [ql[l] % 16, ql[l + 32] % 16, ql[l] / 16, ql[l + 32] / 16][t];
                let sc = f32::from(x[192 + 8 * h + l / 16 + 2 * t] as i8);
                half(x, 208) * sc * f32::from((low + 16 * two(qh, t)) as i8 - 32)
            }
            QuantFormat::Q3_K => {
                let (h, row, l) = (k / 128, k % 128 / 32, k % 32);
                let j = 8 * h + 2 * row + l / 16;
                let low = if j < 8 { x[96 + j] % 16 } else { x[96 + j - 8] / 16 };
                let sc = f32::from((low + 16 * two(x[104 + j % 4], j / 4)) as i8 - 32);
                let less = if bit(x[l], 4 * h + row) == 1 { 0 } else { 4 };
                half(x, 108) * sc * f32::from(two(x[32 + 32 * h + l], row) as i8 - less)
            }
            QuantFormat::Q2_K => {
                let (h, row, l) = (k / 128, k % 128 / 32, k % 32);
                let sc = x[8 * h + 2 * row + l / 16];
                let code = f32::from(two(x[16 + 32 * h + l], row));
                half(x, 80) * f32::from(sc % 16) * code - half(x, 82) * f32::from(sc / 16)
            }
            other => unreachable!("{other} is no K-quant"),
        }
    }

    #[test]
    fn k_quants_decode_by_the_table() {
        use QuantFormat as F;
        for format in [F::Q2_K, F::Q3_K, F::Q4_K, F::Q5_K, F::Q6_K] {
            for seed in 0..50 {
                let block = noise(seed, format.block_bytes());
                let mut got = [0.0; SUPER_BLOCK];
                format.dequantize(&block, &mut got).expect("one block");
                let want: Vec<f32> = (0..SUPER_BLOCK).map(|k| element(format, &block, k)).collect();
                assert_eq!(bits_of(&want), bits_of(&got), "{format} seed {seed}");
            }
        }
    }
}
