// dst[m, c] = bits, or with RANDOM bits | (word & keep)
//
// dst [M, C] of a four-byte type, rows may be strided
//
// One invocation per element. Word i % 4 of Philox for block i / 4 and stream "fill" belongs to element
// i = m C + c, as in src/ops/pointwise.rs.
//
// Gaps between rows are not touched.
#import shared/grid
#ifdef RANDOM
#import shared/math
#import shared/noise
#endif
struct Params {
    m: u32,
    c: u32,
    dst_offset: u32,
    dst_stride: u32,
    bits: u32,
    keep: u32,
    seed_low: u32,
    seed_high: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, DST_ACCESS> dst: array<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.m * p.c {
        return;
    }
    var value = p.bits;
#ifdef RANDOM
    let words = philox(vec4<u32>(i / 4u, 0u, 0u, 0x66696c6cu), vec2<u32>(p.seed_low, p.seed_high));
    value |= words[i % 4u] & p.keep;
#endif
    dst[p.dst_offset + (i / p.c) * p.dst_stride + i % p.c] = value;
}
