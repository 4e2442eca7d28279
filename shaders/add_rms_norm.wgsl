// x[m] += r[m], then y[m] = x[m] / sqrt(mean(x[m]^2) + eps) * weight
//
// r [M, D] f32  x [M, D] f32 in place  weight [D] f32  y [M, D] f32; r, x and y with row strides
//
// One workgroup per row. Lane l sums elements l, l + WG, ... in order; the lanes' sums are added in
// the tree of shared/reduce. Each lane later reads only the elements of x that it wrote itself.
//
// WG is a constant of the device: the order of the sum must not depend on M.
#import shared/grid
struct Params {
    m: u32,
    d: u32,
    r_offset: u32,
    r_stride: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    y_offset: u32,
    y_stride: u32,
    eps: f32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
@group(0) @binding(0) var<storage, R_ACCESS> r: array<f32>;
@group(0) @binding(1) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(2) var<storage, WEIGHT_ACCESS> weight: array<f32>;
@group(0) @binding(3) var<storage, Y_ACCESS> y: array<f32>;

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
    for (var i = lane; i < p.d; i += WG) {
        let v = x[row + i] + r[p.r_offset + m * p.r_stride + i];
        x[row + i] = v;
        squares = fma(v, v, squares);
    }
    let scale = 1.0 / sqrt(reduce_sum(lane, squares) / f32(p.d) + p.eps);
    for (var i = lane; i < p.d; i += WG) {
        y[p.y_offset + m * p.y_stride + i] = x[row + i] * scale * weight[p.weight_offset + i];
    }
}
