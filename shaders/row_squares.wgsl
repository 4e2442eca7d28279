// out[m] = sum_c x[m, c]^2
//
// x [M, C] f32  out [M, 1] f32; both with row strides
//
// One workgroup per row. Lane l sums elements l, l + WG, ...; the lanes' sums are added in the tree of
// shared/reduce.
//
// WG is a constant of the device: the order of the sums must not depend on M.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    x_offset: u32,
    x_stride: u32,
    out_offset: u32,
    out_stride: u32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, OUT_ACCESS> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let m = group_index(group, groups);
    if m >= p.m {
        return;
    }
    let row = p.x_offset + m * p.x_stride;
    var squares = 0.0;
    for (var i = lane; i < p.c; i += WG) {
        squares = fma(x[row + i], x[row + i], squares);
    }
    let total = reduce_sum(lane, squares);
    if lane == 0u {
        out[p.out_offset + m * p.out_stride] = total;
    }
}
