//! How far outputs are from the reference, in figures: kept of cases that pass as well, so that two
//! reports can be compared.

use serde::{Deserialize, Serialize};

use super::{
    case::{Rule, Tensor},
    compare::{EPS, rule_of, values},
};

/// Distances in units of the last place that are counted apart; a last class counts all above.
pub const ULP_CLASSES: [u64; 6] = [0, 1, 2, 4, 16, 256];

/// One output against the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// The output.
    pub operand: String,
    /// How it is compared.
    pub rule: String,
    /// Elements.
    pub elements: usize,
    /// Largest difference.
    pub max_abs: f64,
    /// Largest difference over the size of the reference's element.
    pub max_rel: f64,
    /// Sum of squared differences over sum of squares.
    pub nmse: f64,
    /// Cosine of the angle between both.
    pub cosine: f64,
    /// Largest difference over what the rule allows; above 1 is a failure.
    pub worst_of_bound: f64,
    /// Index of that element.
    pub worst_index: usize,
    /// Its value on the device and on the reference.
    pub worst: (f64, f64),
    /// NaNs and infinities of the device.
    pub not_finite: usize,
    /// Elements by distance in units of the last place of f32; see [`ULP_CLASSES`].
    pub ulps: [usize; 7],
}

impl Numbers {
    /// Figures of one output; nothing for inputs and for outputs that are compared bit for bit.
    pub(super) fn of(tensor: &Tensor, got: &[u8], wanted: &[u8]) -> Option<Self> {
        let expect = tensor.expect.as_ref()?;
        let rule = match &expect.rule {
            Rule::Bits => return None,
            Rule::Bound { units } => format!("bound of {units:.1} roundings"),
            Rule::Nmse { max, why } => format!("nmse up to {max:e}: {why}"),
            Rule::Fields(_) => "by field".into(),
        };
        let (got, wanted) =
            (values(tensor, &expect.rule, got), values(tensor, &expect.rule, wanted));
        let mut of = Self {
            operand: tensor.name.into(),
            rule,
            elements: got.len(),
            max_abs: 0.0,
            max_rel: 0.0,
            nmse: 0.0,
            cosine: 1.0,
            worst_of_bound: 0.0,
            worst_index: 0,
            worst: (0.0, 0.0),
            not_finite: 0,
            ulps: [0; 7],
        };
        let (mut errors, mut squares, mut own, mut product) = (0.0, 0.0, 0.0, 0.0);
        for (i, (&y, &r)) in got.iter().zip(&wanted).enumerate() {
            let units = match rule_of(&expect.rule, i) {
                Rule::Bits => continue,
                Rule::Bound { units } => *units,
                Rule::Nmse { .. } | Rule::Fields(_) => 0.0,
            };
            if !y.is_finite() || !r.is_finite() {
                of.not_finite += usize::from(!y.is_finite());
                continue;
            }
            let far = (y - r).abs();
            errors += far * far;
            squares += r * r;
            own += y * y;
            product += y * r;
            of.max_abs = of.max_abs.max(far);
            if r != 0.0 {
                of.max_rel = of.max_rel.max(far / r.abs());
            }
            of.ulps[ulp_class(y as f32, r as f32)] += 1;
            let allowed = units * EPS * expect.magnitudes[i] + f64::from(f32::MIN_POSITIVE);
            let share = if units > 0.0 { far / allowed } else { far };
            if share > of.worst_of_bound || (i == 0 && of.worst == (0.0, 0.0)) {
                (of.worst_of_bound, of.worst_index, of.worst) = (share, i, (y, r));
            }
        }
        if squares > 0.0 {
            of.nmse = errors / squares;
        }
        if squares > 0.0 && own > 0.0 {
            of.cosine = product / (squares.sqrt() * own.sqrt());
        }
        if let Rule::Nmse { max, .. } = expect.rule {
            of.worst_of_bound = of.nmse / max;
        }
        Some(of)
    }
}

fn ulp_class(a: f32, b: f32) -> usize {
    // Ordered as the floats are, so that neighbours differ by one.
    let key = |x: f32| {
        let bits = i64::from(x.to_bits() as i32);
        if bits < 0 { i64::from(i32::MIN) - bits } else { bits }
    };
    let distance = key(a).abs_diff(key(b));
    ULP_CLASSES.iter().position(|&most| distance <= most).unwrap_or(ULP_CLASSES.len())
}

/// Two devices against each other on one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The output.
    pub operand: String,
    /// Elements.
    pub elements: usize,
    /// Elements whose bits differ.
    pub differing: usize,
    /// Largest difference over what the rule allows between a device and the reference; between two
    /// devices that both pass it is at most 2. Absent for outputs that are compared bit for bit.
    pub worst_of_bound: Option<f64>,
    /// Index of the first element whose bits differ.
    pub first: Option<usize>,
}

impl Difference {
    /// Nothing for inputs.
    pub(super) fn of(tensor: &Tensor, a: &[u8], b: &[u8]) -> Option<Self> {
        tensor.expect.as_ref()?;
        let size = tensor.dtype.size();
        let pairs = || a.chunks_exact(size).zip(b.chunks_exact(size));
        Some(Self {
            operand: tensor.name.into(),
            elements: a.len() / size,
            differing: pairs().filter(|(a, b)| a != b).count(),
            worst_of_bound: Numbers::of(tensor, a, b).map(|numbers| numbers.worst_of_bound),
            first: pairs().position(|(a, b)| a != b),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check::Expect, dtype::DType};

    #[test]
    fn figures_are_those_of_the_formula() {
        let rule = Rule::Bound { units: 4.0 };
        let expect = Expect::close(rule, [(1.0, 1.0), (2.0, 2.0), (-4.0, 4.0)]);
        let tensor = Tensor::output("y", &[3], DType::F32, expect);
        let one_up = f32::from_bits(2.0f32.to_bits() + 1);
        let got: Vec<u8> = [1.0, one_up, -4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let wanted: Vec<u8> = [1f32, 2.0, -4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let of = Numbers::of(&tensor, &got, &wanted).expect("an output of floats");
        assert_eq!((of.worst_index, of.ulps[0], of.ulps[1]), (1, 2, 1));
        assert!((of.max_abs - 2.0 * EPS).abs() < 1e-12, "{of:?}");
        // one unit of 2 is an eighth of four roundings of a magnitude of 2, each of them 2^-23
        assert!((of.worst_of_bound - 0.25).abs() < 1e-6, "{of:?}");
        assert!(of.cosine > 0.999_999 && of.nmse > 0.0);
        let same = Difference::of(&tensor, &got, &wanted).expect("an output");
        assert_eq!((same.differing, same.first), (1, Some(1)));
    }

    #[test]
    fn distances_cross_zero() {
        let least = f32::from_bits(1);
        assert_eq!(ulp_class(0.0, -0.0), 0);
        assert_eq!(ulp_class(least, -least), 2);
        assert_eq!(ulp_class(1.0, -1.0), 6);
    }
}
