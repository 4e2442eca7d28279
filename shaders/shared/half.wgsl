// f32 to the bits of f16, rounding to nearest even as `half::f16::from_f32` does; WGSL leaves the
// rounding of pack2x16float open.
fn f16_bits(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    let sign = (bits >> 16u) & 0x8000u;
    let mag = bits & 0x7fffffffu;
    if mag > 0x7f800000u {
        return sign | 0x7e00u | ((mag >> 13u) & 0x3ffu);
    }
    if mag >= 0x47800000u {
        return sign | 0x7c00u;
    }
    if mag < 0x38800000u {
        // Below 2^-14: a multiple of 2^-24, so shift the mantissa with its hidden bit.
        if mag < 0x33000000u {
            return sign;
        }
        let shift = 126u - (mag >> 23u);
        let mantissa = (mag & 0x7fffffu) | 0x800000u;
        let kept = mantissa >> shift;
        let rest = mantissa & ((1u << shift) - 1u);
        let tie = 1u << (shift - 1u);
        return sign | (kept + select(0u, 1u, rest > tie || (rest == tie && (kept & 1u) == 1u)));
    }
    let kept = (mag - 0x38000000u) >> 13u;
    let rest = mag & 0x1fffu;
    return sign | (kept + select(0u, 1u, rest > 0x1000u || (rest == 0x1000u && (kept & 1u) == 1u)));
}
