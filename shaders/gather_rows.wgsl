// dst[m, c] = src[rows[m], c], or 0 where rows[m] >= R
//
// src [R, C] f32  rows [M] u32  dst [M, C] f32; src and dst with row strides
//
// One invocation per element.
//
// Nothing is computed: bits are moved.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    r: u32,
    src_offset: u32,
    src_stride: u32,
    rows_offset: u32,
    rows_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, SRC_ACCESS> src: array<u32>;
@group(0) @binding(1) var<storage, ROWS_ACCESS> rows: array<u32>;
@group(0) @binding(2) var<storage, DST_ACCESS> dst: array<u32>;

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
    let row = rows[p.rows_offset + m * p.rows_stride];
    var value = 0u;
    if row < p.r {
        value = src[p.src_offset + row * p.src_stride + c];
    }
    dst[p.dst_offset + m * p.dst_stride + c] = value;
}
