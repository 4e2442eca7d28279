// Packed weights, four rows at a time: a lane owns rows 4 rq .. 4 rq + 4 and every vec4 holds one
// value of each. The decoder of a format gives
//   Block  load_block(rq, b)      the words of block b (32 elements)
//   Half   half_block(block, h)   elements 16 h .. 16 h + 16 as four matrices: column i of matrix j is
//                                 element 16 h + 4 j + i of the four rows
//   Scale  block_scale(rq, b, h)  what a code is worth: value = d * code + m; m only with MINS
// PLAIN formats hold values instead of codes and have no scale.
// `src/quant/mod.rs` has the layout of each plane; `p.blocks` is K / 32.
struct Half {
    q0: mat4x4<f32>,
    q1: mat4x4<f32>,
    q2: mat4x4<f32>,
    q3: mat4x4<f32>,
}

struct Scale {
    d: vec4<f32>,
    m: vec4<f32>,
}

// A quad of signed bytes of each of four rows, as one vec4 per element.
fn signed_bytes(c: vec4<u32>) -> mat4x4<f32> {
    let s = bitcast<vec4<i32>>(c);
    return mat4x4<f32>(
        vec4<f32>((s << vec4<u32>(24u)) >> vec4<u32>(24u)),
        vec4<f32>((s << vec4<u32>(16u)) >> vec4<u32>(24u)),
        vec4<f32>((s << vec4<u32>(8u)) >> vec4<u32>(24u)),
        vec4<f32>(s >> vec4<u32>(24u)),
    );
}

// Bytes below 128 - `by`, minus `by`, still as bytes: no borrow crosses a byte.
fn minus(c: vec4<u32>, by: u32) -> vec4<u32> {
    return (c + vec4<u32>((128u - by) * 0x01010101u)) ^ vec4<u32>(0x80808080u);
}

// The 16-bit fields of four rows.
fn spread(v: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(v.x & 0xffffu, v.x >> 16u, v.y & 0xffffu, v.y >> 16u);
}

// Four f16.
fn halves(v: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}

// The low and the high f16 of four words.
fn low_halves(v: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(
        unpack2x16float(v.x).x,
        unpack2x16float(v.y).x,
        unpack2x16float(v.z).x,
        unpack2x16float(v.w).x,
    );
}

fn high_halves(v: vec4<u32>) -> vec4<f32> {
    return low_halves(v >> vec4<u32>(16u));
}

// Index of the four rows `rq` in a plane `[g][per_group][r]` of vec4 (or vec2 of 16-bit fields).
fn plane_index(rq: u32, per_group: u32, i: u32) -> u32 {
    return ((rq >> 2u) * per_group + i) * 4u + (rq & 3u);
}
#ifdef F32
#import shared/quant_f32
#endif
#ifdef F16
#import shared/quant_f16
#endif
#ifdef BF16
#import shared/quant_bf16
#endif
#ifdef Q8_0
#import shared/quant_q8_0
#endif
#ifdef Q4_0
#import shared/quant_q4_0
#endif
#ifdef Q4_1
#import shared/quant_q4_1
#endif
#ifdef Q5_0
#import shared/quant_q5_0
#endif
#ifdef Q5_1
#import shared/quant_q5_1
#endif
#ifdef Q2_K
#import shared/quant_q2_k
#endif
#ifdef Q3_K
#import shared/quant_q3_k
#endif
#ifdef Q4_K
#import shared/quant_q4_k
#endif
#ifdef Q5_K
#import shared/quant_q5_k
#endif
#ifdef Q6_K
#import shared/quant_q6_k
#endif
