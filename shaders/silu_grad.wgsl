// dz[m, c] = dy[m, c] s (1 + z[m, c] (1 - s)) with s = 1 / (1 + exp(-z[m, c]))
//
// z, dy, dz [M, C] f32 with row strides
//
// One invocation per element.
//
// Each element depends on its own inputs only.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    c: u32,
    z_offset: u32,
    z_stride: u32,
    dy_offset: u32,
    dy_stride: u32,
    dz_offset: u32,
    dz_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, Z_ACCESS> z: array<f32>;
@group(0) @binding(1) var<storage, DY_ACCESS> dy: array<f32>;
@group(0) @binding(2) var<storage, DZ_ACCESS> dz: array<f32>;

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
    let u = z[p.z_offset + m * p.z_stride + c];
    let s = 1.0 / (1.0 + exp_f32(-u));
    let slope = s * fma(u, 1.0 - s, 1.0);
    dz[p.dz_offset + m * p.dz_stride + c] = dy[p.dy_offset + m * p.dy_stride + c] * slope;
}
