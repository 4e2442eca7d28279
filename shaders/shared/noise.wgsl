// The keyed noise of src/sample/rng.rs: Philox4x32-10 words, bit for bit, and Gumbel noise from a word.
// Import shared/math before it.
fn mul_high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let mid = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let cross = (a & 0xffffu) * (b >> 16u) + (mid & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (mid >> 16u) + (cross >> 16u);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        if round > 0u {
            k = k + vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
        }
        c = vec4<u32>(
            mul_high(0xCD9E8D57u, c.z) ^ c.y ^ k.x,
            0xCD9E8D57u * c.z,
            mul_high(0xD2511F53u, c.x) ^ c.w ^ k.y,
            0xD2511F53u * c.x,
        );
    }
    return c;
}

// No noise exceeds this.
const GUMBEL_MAX: f32 = 16.636;

fn gumbel_of(word: u32) -> f32 {
    let m = (word >> 8u) | 1u;
    // 2^-24 is exact, and so are both products.
    let v = f32(16777216u - m) * 5.9604644775390625e-8;
    let series = v * fma(v, fma(v, fma(v, 0.25, 0.33333334), 0.5), 1.0);
    let exponential = select(-ln_f32(f32(m) * 5.9604644775390625e-8), series, v < 0.015625);
    return -ln_f32(exponential);
}
