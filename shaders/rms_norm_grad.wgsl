// dx[m, h] (+)= r g - x[m, h] r^3 / d sum(x[m, h] g)
//   with r = 1 / sqrt(mean(x[m, h]^2) + eps) and g = weight dy[m, h]
//
// x, dy, dx [M, H, d] f32, rows may be strided  weight [d] f32
//
// One workgroup per head of a row. Lane l sums elements l, l + WG, ... in order; the lanes' sums are
// added in the tree of shared/reduce.
//
// WG is a constant of the device: the order of the sums must not depend on M.
#import shared/grid
struct Params {
    m: u32,
    h: u32,
    d: u32,
    x_offset: u32,
    x_stride: u32,
    weight_offset: u32,
    dy_offset: u32,
    dy_stride: u32,
    dx_offset: u32,
    dx_stride: u32,
    eps: f32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, WEIGHT_ACCESS> weight: array<f32>;
@group(0) @binding(2) var<storage, DY_ACCESS> dy: array<f32>;
@group(0) @binding(3) var<storage, DX_ACCESS> dx: array<f32>;

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
    let m = index / p.h;
    let head = (index % p.h) * p.d;
    let x_row = p.x_offset + m * p.x_stride + head;
    let dy_row = p.dy_offset + m * p.dy_stride + head;
    let dx_row = p.dx_offset + m * p.dx_stride + head;
    var squares = 0.0;
    var along = 0.0;
    for (var i = lane; i < p.d; i += WG) {
        let v = x[x_row + i];
        squares = fma(v, v, squares);
        along = fma(v, weight[p.weight_offset + i] * dy[dy_row + i], along);
    }
    squares = reduce_sum(lane, squares);
    along = reduce_sum(lane, along);
    let r = 1.0 / sqrt(squares / f32(p.d) + p.eps);
    let back = (r * along / f32(p.d)) * r * r;
    for (var i = lane; i < p.d; i += WG) {
        let g = weight[p.weight_offset + i] * dy[dy_row + i];
        var value = fma(-back, x[x_row + i], r * g);
#ifdef ADD
        value = dx[dx_row + i] + value;
#endif
        dx[dx_row + i] = value;
    }
}
