// y[m, c] += x[m, c]
//
// x [M, C] f32  y [M, C] f32 in place, both with row strides
//
// One invocation per element.
//
// One addition per element: the result has the bits of any other IEEE adder.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, Y_ACCESS> y: array<f32>;

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
    let at = p.y_offset + m * p.y_stride + c;
    y[at] = y[at] + x[p.x_offset + m * p.x_stride + c];
}
