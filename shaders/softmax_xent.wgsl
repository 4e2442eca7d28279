// loss[m] = sum_j w[m, j] (lse - l[t[m, j]]) and then, in place of l = logits[m],
// l[v] = (sum_j w[m, j]) exp(l[v] - lse) - sum_{j: t[m, j] = v} w[m, j]
//   with lse = ln sum exp(l); a target t that is not below V counts as weight 0
//
// logits [M, V] f32 in place  targets [M, J] u32  weights [M, J] f32  loss [M, 1] f32; row strides
//
// One workgroup per row, three passes: maximum, sum as in row_stats, gradient. Lane 0 then visits the
// targets in order.
//
// Targets of a row differ, or the last of them would see what an earlier one left. WG is a constant of
// the device: the order of the sums must not depend on M.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    v: u32,
    j: u32,
    logits_offset: u32,
    logits_stride: u32,
    targets_offset: u32,
    targets_stride: u32,
    weights_offset: u32,
    weights_stride: u32,
    loss_offset: u32,
    loss_stride: u32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
#import shared/best
@group(0) @binding(0) var<storage, LOGITS_ACCESS> logits: array<f32>;
@group(0) @binding(1) var<storage, TARGETS_ACCESS> targets: array<u32>;
@group(0) @binding(2) var<storage, WEIGHTS_ACCESS> weights: array<f32>;
@group(0) @binding(3) var<storage, LOSS_ACCESS> loss: array<f32>;
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
    let lse = top + ln_f32(sums.x);

    let first_target = p.targets_offset + m * p.targets_stride;
    let first_weight = p.weights_offset + m * p.weights_stride;
    var sum = 0.0;
    var total = 0.0;
    for (var j = 0u; j < p.j; j += 1u) {
        let t = targets[first_target + j];
        if t < p.v {
            let w = weights[first_weight + j];
            sum = fma(w, lse - logits[row + t], sum);
            total = total + w;
        }
    }
    storageBarrier();
    for (var i = lane; i < p.v; i += WG) {
        logits[row + i] = total * exp_f32(logits[row + i] - lse);
    }
    storageBarrier();
    if lane == 0u {
        loss[p.loss_offset + m * p.loss_stride] = sum;
        for (var j = 0u; j < p.j; j += 1u) {
            let t = targets[first_target + j];
            if t < p.v {
                logits[row + t] = logits[row + t] - weights[first_weight + j];
            }
        }
    }
}
