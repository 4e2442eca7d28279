// dst[m, c] = bits
//
// dst [M, C] of a four-byte type, rows may be strided
//
// One invocation per element.
//
// Gaps between rows are not touched.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    dst_offset: u32,
    dst_stride: u32,
    bits: u32,
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
    dst[p.dst_offset + (i / p.c) * p.dst_stride + i % p.c] = p.bits;
}
