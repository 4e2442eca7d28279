// Exponential and logarithm of our own (Cephes' single-precision polynomials, within 2 ulp): what a
// driver offers ranges from exact to 16 bits, and WGSL leaves its error open.
fn exp_f32(v: f32) -> f32 {
    let x = clamp(v, -87.5, 88.5);
    let n = round(x * 1.44269504);
    let r = fma(n, 2.12194440e-4, fma(n, -0.693359375, x));
    var y = 1.9875691500e-4;
    y = fma(y, r, 1.3981999507e-3);
    y = fma(y, r, 8.3334519073e-3);
    y = fma(y, r, 4.1665795894e-2);
    y = fma(y, r, 1.6666665459e-1);
    y = fma(y, r, 5.0000001201e-1);
    y = fma(y, r * r, r) + 1.0;
    // n reaches 128, one more than an exponent field holds, so 2^n is applied in two halves.
    let half = i32(n) / 2;
    let low = bitcast<f32>(u32(half + 127) << 23u);
    let high = bitcast<f32>(u32(i32(n) - half + 127) << 23u);
    return select(y * low * high, 0.0, v < -87.5);
}

// Of a positive normal number.
fn ln_f32(v: f32) -> f32 {
    let bits = bitcast<u32>(v);
    var e = i32(bits >> 23u) - 126;
    var f = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
    if f < 0.70710678 {
        e = e - 1;
        f = f + f;
    }
    f = f - 1.0;
    let z = f * f;
    var y = 7.0376836292e-2;
    y = fma(y, f, -1.1514610310e-1);
    y = fma(y, f, 1.1676998740e-1);
    y = fma(y, f, -1.2420140846e-1);
    y = fma(y, f, 1.4249322787e-1);
    y = fma(y, f, -1.6668057665e-1);
    y = fma(y, f, 2.0000714765e-1);
    y = fma(y, f, -2.4999993993e-1);
    y = fma(y, f, 3.3333331174e-1);
    y = y * f * z;
    y = fma(f32(e), -2.12194440e-4, y);
    y = fma(z, -0.5, y);
    return fma(f32(e), 0.693359375, f + y);
}
