// ids[m] = the k largest of logits[m], largest first, lowest id first among equals
// logprobs[m, j] = logits[m, ids[m, j]] - ln sum exp(logits[m])
//
// logits [M, V] f32  ids [M, k] u32  logprobs [M, k] f32; all with row strides
//
// One workgroup per row. Lane l keeps the best of elements l, l + WG, ... ; each of k rounds takes the
// best of all lanes, and only the lane that held it looks for its next one.
//
// Values are compared as integers, so the order is the same on every device. WG is a constant of the
// device: the order of the sum must not depend on M.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    v: u32,
    k: u32,
    logits_offset: u32,
    logits_stride: u32,
    ids_offset: u32,
    ids_stride: u32,
    logprobs_offset: u32,
    logprobs_stride: u32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
#import shared/best
@group(0) @binding(0) var<storage, LOGITS_ACCESS> logits: array<f32>;
@group(0) @binding(1) var<storage, IDS_ACCESS> ids: array<u32>;
@group(0) @binding(2) var<storage, LOGPROBS_ACCESS> logprobs: array<f32>;
#import shared/softmax_sums

// Best of the lane's elements that come after `last` in the order.
fn next_of_lane(lane: u32, row: u32, last: Best) -> Best {
    var best = Best(0u, NO_ID);
    for (var i = lane; i < p.v; i += WG) {
        let here = Best(sort_key(logits[row + i]), i);
        if here.key < last.key || (here.key == last.key && here.id > last.id) {
            best = better(best, here);
        }
    }
    return best;
}

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
    // No element comes before this one: ids start at 0 and no number has the largest key.
    var mine = next_of_lane(lane, row, Best(0xffffffffu, NO_ID));
    var log_sum = 0.0;
    for (var j = 0u; j < p.k; j++) {
        let best = reduce_best(lane, mine);
        let value = logits[row + best.id];
        if j == 0u {
            log_sum = value + ln_f32(softmax_sums(lane, row, value).x);
        }
        if lane == 0u {
            ids[p.ids_offset + m * p.ids_stride + j] = best.id;
            logprobs[p.logprobs_offset + m * p.logprobs_stride + j] = value - log_sum;
        }
        if best.id % WG == lane {
            mine = next_of_lane(lane, row, best);
        }
    }
}
