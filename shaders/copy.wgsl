// dst[m, c] = src[m, c], as 32-bit words
//
// src [M, C]  dst [M, C], both with row strides
//
// One invocation per element.
//
// Nothing is computed: the bits of NaNs and of integers stay as they are.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, SRC_ACCESS> src: array<u32>;
@group(0) @binding(1) var<storage, DST_ACCESS> dst: array<u32>;

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
    let m = i / p.c;
    let c = i % p.c;
    dst[p.dst_offset + m * p.dst_stride + c] = src[p.src_offset + m * p.src_stride + c];
}
