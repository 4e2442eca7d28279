// g = grads min(1, max_norm / sqrt(norm2)), mean = b1 mean + (1 - b1) g, square = b2 square + (1 - b2) g^2,
// params -= lr (c1 mean / (sqrt(c2 square) + eps) + decay params)
//
// params, grads, mean, square [M, C] f32 with row strides, all but grads in place  norm2 [1] f32
// hyper [8] f32: lr, b1, b2, eps, decay, c1, c2, max_norm
//
// One invocation per element.
//
// Nothing changes where norm2 is infinite or NaN, which is read from its bits: compilers may assume that
// numbers are finite.
#import shared/grid
struct Params {
    m: u32,
    c: u32,
    params_offset: u32,
    params_stride: u32,
    grads_offset: u32,
    grads_stride: u32,
    mean_offset: u32,
    mean_stride: u32,
    square_offset: u32,
    square_stride: u32,
    norm2_offset: u32,
    hyper_offset: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, PARAMS_ACCESS> params: array<f32>;
@group(0) @binding(1) var<storage, GRADS_ACCESS> grads: array<f32>;
@group(0) @binding(2) var<storage, MEAN_ACCESS> mean: array<f32>;
@group(0) @binding(3) var<storage, SQUARE_ACCESS> square: array<f32>;
@group(0) @binding(4) var<storage, NORM2_ACCESS> norm2: array<f32>;
@group(0) @binding(5) var<storage, HYPER_ACCESS> hyper: array<f32>;

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
    let total = norm2[p.norm2_offset];
    if (bitcast<u32>(total) & 0x7f800000u) == 0x7f800000u {
        return;
    }
    let h = p.hyper_offset;
    let norm = sqrt(total);
    let most = hyper[h + 7u];
    let clip = select(1.0, most / max(norm, 1e-30), norm > most);
    let row = i / p.c;
    let c = i % p.c;
    let g = clip * grads[p.grads_offset + row * p.grads_stride + c];
    let at_mean = p.mean_offset + row * p.mean_stride + c;
    let at_square = p.square_offset + row * p.square_stride + c;
    let at = p.params_offset + row * p.params_stride + c;
    let b1 = hyper[h + 1u];
    let b2 = hyper[h + 2u];
    let first = fma(b1, mean[at_mean], (1.0 - b1) * g);
    let second = fma(b2, square[at_square], (1.0 - b2) * (g * g));
    let step = hyper[h + 5u] * first / (sqrt(hyper[h + 6u] * second) + hyper[h + 3u]);
    params[at] = fma(-hyper[h], fma(hyper[h + 4u], params[at], step), params[at]);
    mean[at_mean] = first;
    square[at_square] = second;
}
