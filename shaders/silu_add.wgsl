// x[m, d] += y / (1 + exp(-y)), y = y[m, d]
//
// y [M, D] f32  x [M, D] f32 in place, both with row strides
//
// One invocation per element.
//
// Each element depends on its own two inputs only.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    d: u32,
    y_offset: u32,
    y_stride: u32,
    x_offset: u32,
    x_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, Y_ACCESS> y: array<f32>;
@group(0) @binding(1) var<storage, X_ACCESS> x: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.m * p.d {
        return;
    }
    let m = i / p.d;
    let d = i % p.d;
    let v = y[p.y_offset + m * p.y_stride + d];
    let at = p.x_offset + m * p.x_stride + d;
    x[at] = x[at] + v / (1.0 + exp_f32(-v));
}
