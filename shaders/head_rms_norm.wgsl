// x[m, h] = x[m, h] / sqrt(mean(x[m, h]^2) + eps) * weight
//
// x [M, H, d] f32 in place, rows may be strided  weight [d] f32
//
// One workgroup per head of a row. Lane l sums elements l, l + WG, ... in order; the lanes' sums are
// added in the tree of shared/reduce.
//
// WG is a constant of the device: the order of the sum must not depend on M.
#import shared/grid
struct Params {
    m: u32,
    h: u32,
    d: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    eps: f32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, WEIGHT_ACCESS> weight: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if index >= p.m * p.h {
        return;
    }
    let row = p.x_offset + (index / p.h) * p.x_stride + (index % p.h) * p.d;
    var squares = 0.0;
    for (var i = lane; i < p.d; i += WG) {
        let v = x[row + i];
        squares = fma(v, v, squares);
    }
    let scale = 1.0 / sqrt(reduce_sum(lane, squares) / f32(p.d) + p.eps);
    for (var i = lane; i < p.d; i += WG) {
        x[row + i] = x[row + i] * scale * weight[p.weight_offset + i];
    }
}
