// out[c] (+)= sum_m x[m, c]
//
// x [M, C] f32 with a row stride  out [C] f32
//
// One invocation per column, which takes the rows in order.
//
// The order of a sum is that of the rows on every device.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    x_offset: u32,
    x_stride: u32,
    out_offset: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, OUT_ACCESS> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = group_index(group, groups) * WG + lane;
    if c >= p.c {
        return;
    }
    var sum = 0.0;
    for (var m = 0u; m < p.m; m += 1u) {
        sum = sum + x[p.x_offset + m * p.x_stride + c];
    }
#ifdef ADD
    sum = out[p.out_offset + c] + sum;
#endif
    out[p.out_offset + c] = sum;
}
