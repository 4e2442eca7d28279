//! Comparison of outputs.

use half::{bf16, f16};

use super::{
    case::{Rule, Tensor},
    outcome::{Check, Failure},
};
use crate::dtype::DType;

pub(super) const EPS: f64 = f32::EPSILON as f64;

/// Bits of element `i` of dense `bytes`, zero-extended.
pub(super) fn bits(dtype: DType, bytes: &[u8], i: usize) -> u32 {
    let size = dtype.size();
    let mut word = [0; 4];
    word[..size].copy_from_slice(&bytes[i * size..][..size]);
    u32::from_le_bytes(word)
}

/// Element as a number under a float rule. Words hold the bits of an f32.
pub(super) fn float(dtype: DType, bits: u32) -> f64 {
    match dtype {
        DType::F32 | DType::U32 => f32::from_bits(bits).into(),
        DType::F16 => f16::from_bits(bits as u16).into(),
        DType::BF16 => bf16::from_bits(bits as u16).into(),
        DType::I8 => f64::from(bits as u8 as i8),
        DType::U8 => f64::from(bits as u8),
    }
}

/// Values of dense `bytes` as an [`super::Expect`] holds them.
pub(super) fn values(tensor: &Tensor, rule: &Rule, bytes: &[u8]) -> Vec<f64> {
    (0..tensor.shape.elements())
        .map(|i| {
            let bits = bits(tensor.dtype, bytes, i);
            match rule_of(rule, i) {
                Rule::Bits => f64::from(bits),
                _ => float(tensor.dtype, bits),
            }
        })
        .collect()
}

pub(super) fn rule_of(rule: &Rule, i: usize) -> &Rule {
    match rule {
        Rule::Fields(rules) => &rules[i % rules.len()],
        rule => rule,
    }
}

/// Judges `got` by the tensor's rule against `wanted` values; the worst element is reported.
///
/// `unwritten` is the pattern that the output held before: elements that still hold it, where
/// another value was wanted, are reported as such.
pub(super) fn judge(
    check: Check,
    tensor: &Tensor,
    got: &[u8],
    wanted: &[f64],
    unwritten: Option<u32>,
) -> Result<(), Box<Failure>> {
    let Some(expect) = &tensor.expect else { return Ok(()) };
    let got_values = values(tensor, &expect.rule, got);
    if let Some(pattern) = unwritten.filter(|_| tensor.data.is_none()) {
        let mask = u32::MAX >> (32 - 8 * tensor.dtype.size());
        let left = |&i: &usize| bits(tensor.dtype, got, i) == pattern & mask;
        let same = |i: usize| got_values[i].to_bits() == wanted[i].to_bits();
        let all: Vec<usize> = (0..wanted.len()).filter(left).filter(|&i| !same(i)).collect();
        if let Some(&first) = all.first() {
            let note = format!("{} of {} elements", all.len(), wanted.len());
            return Err(failure(Check::Unwritten, tensor, first, &got_values, wanted, note));
        }
    }
    let mut worst: Option<(f64, usize, f64)> = None;
    for (i, (&y, &r)) in got_values.iter().zip(wanted).enumerate() {
        let allowed = match rule_of(&expect.rule, i) {
            Rule::Bits => 0.0,
            Rule::Bound { units } => {
                units * EPS * expect.magnitudes[i] + f64::from(f32::MIN_POSITIVE)
            }
            Rule::Nmse { .. } if y.is_finite() && r.is_finite() => continue,
            Rule::Nmse { .. } | Rule::Fields(_) => 0.0,
        };
        // equal infinities have no difference; a NaN where the reference has one is as wanted
        let agrees = y == r || (y.is_nan() && r.is_nan()) || (y - r).abs() <= allowed;
        let excess = if (y - r).is_finite() { (y - r).abs() / allowed } else { f64::INFINITY };
        if !agrees && worst.is_none_or(|(most, ..)| excess > most) {
            worst = Some((excess, i, allowed));
        }
    }
    if let Some((_, i, allowed)) = worst {
        return Err(failure(check, tensor, i, &got_values, wanted, format!("{allowed:e} allowed")));
    }
    if let Rule::Nmse { max, why } = expect.rule {
        let error: f64 = got_values.iter().zip(wanted).map(|(y, r)| (y - r) * (y - r)).sum();
        let nmse = error / wanted.iter().map(|r| r * r).sum::<f64>();
        if nmse > max {
            let far = |i: usize| (got_values[i] - wanted[i]).abs();
            let i = (0..wanted.len()).max_by(|&a, &b| far(a).total_cmp(&far(b))).unwrap_or(0);
            let note = format!("nmse {nmse:e}, allowed {max:e}: {why}");
            return Err(failure(check, tensor, i, &got_values, wanted, note));
        }
    }
    Ok(())
}

/// The same bits; the first element that differs is reported.
pub(super) fn identical(
    check: Check,
    tensor: &Tensor,
    got: &[u8],
    wanted: &[u8],
    note: &str,
) -> Result<(), Box<Failure>> {
    let size = tensor.dtype.size();
    let differs = |(a, b): (&[u8], &[u8])| a != b;
    match got.chunks_exact(size).zip(wanted.chunks_exact(size)).position(differs) {
        None => Ok(()),
        Some(i) => Err(Box::new(Failure {
            check,
            operand: tensor.name.into(),
            index: index(tensor, i),
            got: show(tensor, bits(tensor.dtype, got, i)),
            wanted: show(tensor, bits(tensor.dtype, wanted, i)),
            note: note.into(),
        })),
    }
}

fn show(tensor: &Tensor, bits: u32) -> String {
    match tensor.dtype {
        DType::F32 | DType::F16 | DType::BF16 => {
            format!("{:e} ({bits:#x})", float(tensor.dtype, bits))
        }
        DType::U32 | DType::I8 | DType::U8 => format!("{bits} ({bits:#x})"),
    }
}

fn failure(
    check: Check,
    tensor: &Tensor,
    i: usize,
    got: &[f64],
    wanted: &[f64],
    note: String,
) -> Box<Failure> {
    Box::new(Failure {
        check,
        operand: tensor.name.into(),
        index: index(tensor, i),
        got: format!("{:e}", got[i]),
        wanted: format!("{:e}", wanted[i]),
        note,
    })
}

/// Indices along each dimension of element `i`.
fn index(tensor: &Tensor, i: usize) -> Vec<usize> {
    let mut left = i;
    let mut index: Vec<usize> = tensor
        .shape
        .dims()
        .iter()
        .rev()
        .map(|&d| {
            let at = left % d;
            left /= d;
            at
        })
        .collect();
    index.reverse();
    index
}
