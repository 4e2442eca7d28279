// out[m] = { max, argmax, ln sum exp(l), -sum p ln p } of l = logits[m]
//   with z = l - max, S = sum exp(z), T = sum exp(z) z:  logsumexp = max + ln S, entropy = ln S - T/S
//
// logits [M, V] f32  out [M, 4] u32; both with row strides
//
// One workgroup per row, two passes. Lane l sums elements l, l + WG, ... in runs of 32; the lanes'
// sums are added in the tree of shared/reduce.
//
// Of equal maxima the lowest id wins. WG is a constant of the device: the order of the sums must not
// depend on M.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    v: u32,
    logits_offset: u32,
    logits_stride: u32,
    out_offset: u32,
    out_stride: u32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
#import shared/best
@group(0) @binding(0) var<storage, LOGITS_ACCESS> logits: array<f32>;
@group(0) @binding(1) var<storage, OUT_ACCESS> out: array<u32>;
#import shared/softmax_sums

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
    let row = p.logits_offset + m * p.logits_stride;
    var best = Best(0u, NO_ID);
    for (var i = lane; i < p.v; i += WG) {
        best = better(best, Best(sort_key(logits[row + i]), i));
    }
    best = reduce_best(lane, best);
    let top = logits[row + best.id];
    let sums = softmax_sums(lane, row, top);
    if lane == 0u {
        let at = p.out_offset + m * p.out_stride;
        let ln_sum = ln_f32(sums.x);
        out[at] = bitcast<u32>(top);
        out[at + 1u] = best.id;
        out[at + 2u] = bitcast<u32>(top + ln_sum);
        out[at + 3u] = bitcast<u32>(ln_sum - sums.y / sums.x);
    }
}
