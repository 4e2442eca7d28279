//! GGML's numbering of tensor types.

use crate::{format::StoredType, quant::QuantFormat};

/// `(number, format)` of the types that can be weights.
const WEIGHTS: [(u32, QuantFormat); 13] = [
    (0, QuantFormat::F32),
    (1, QuantFormat::F16),
    (2, QuantFormat::Q4_0),
    (3, QuantFormat::Q4_1),
    (6, QuantFormat::Q5_0),
    (7, QuantFormat::Q5_1),
    (8, QuantFormat::Q8_0),
    (10, QuantFormat::Q2_K),
    (11, QuantFormat::Q3_K),
    (12, QuantFormat::Q4_K),
    (13, QuantFormat::Q5_K),
    (14, QuantFormat::Q6_K),
    (30, QuantFormat::BF16),
];

/// `(number, name, elements of a block, bytes of a block)` of GGML's other types. They can be
/// listed and their sizes checked, but not used.
const OTHERS: [(u32, &str, usize, usize); 21] = [
    (9, "q8_1", 32, 40),
    (15, "q8_k", 256, 292),
    (16, "iq2_xxs", 256, 66),
    (17, "iq2_xs", 256, 74),
    (18, "iq3_xxs", 256, 98),
    (19, "iq1_s", 256, 50),
    (20, "iq4_nl", 32, 18),
    (21, "iq3_s", 256, 110),
    (22, "iq2_s", 256, 82),
    (23, "iq4_xs", 256, 136),
    (24, "i8", 1, 1),
    (25, "i16", 1, 2),
    (26, "i32", 1, 4),
    (27, "i64", 1, 8),
    (28, "f64", 1, 8),
    (29, "iq1_m", 256, 56),
    (34, "tq1_0", 256, 54),
    (35, "tq2_0", 256, 66),
    (39, "mxfp4", 32, 17),
    (40, "nvfp4", 64, 36),
    (41, "q1_0", 128, 18),
];

/// A type number resolved: its name and, if known, the (elements, bytes) of a block.
pub(super) fn resolve(number: u32) -> (StoredType, Option<(usize, usize)>) {
    if let Some(&(_, format)) = WEIGHTS.iter().find(|(n, _)| *n == number) {
        return (StoredType::Weight(format), Some((format.block_elements(), format.block_bytes())));
    }
    match OTHERS.iter().find(|(n, ..)| *n == number) {
        Some(&(_, name, elements, bytes)) => {
            (StoredType::Other(name.to_owned()), Some((elements, bytes)))
        }
        None => (StoredType::Other(format!("number {number} (unknown)")), None),
    }
}

/// GGML's number of a format.
pub(super) fn number(format: QuantFormat) -> u32 {
    let found = WEIGHTS.iter().find(|(_, f)| *f == format);
    found.expect("WEIGHTS lists every format").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_one_number_and_numbers_are_not_reused() {
        for format in QuantFormat::ALL {
            assert_eq!(resolve(number(format)).0, StoredType::Weight(format));
        }
        for (n, name, ..) in OTHERS {
            assert_eq!(resolve(n).0, StoredType::Other(name.to_owned()));
        }
        assert_eq!(resolve(999).1, None);
    }
}
