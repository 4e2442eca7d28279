//! Round numbers for axes.

/// Ticks from `low` to `high` or a little beyond, about `wanted` of them, at 1, 2 or 5 times a
/// power of ten.
pub(super) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let span = (high - low).max(f64::MIN_POSITIVE);
    let raw = span / wanted.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(10.0 * power);
    let (first, last) = ((low / step).floor() as i64, (high / step - 1e-9).ceil() as i64);
    (first..=last.max(first + 1)).map(|i| i as f64 * step).collect()
}

/// A tick as text with the decimals that its step needs.
pub(super) fn label(tick: f64, step: f64) -> String {
    if tick.abs() >= 1e6 || (tick != 0.0 && step < 1e-6) {
        return format!("{tick:.1e}");
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{tick:.decimals$}")
}
