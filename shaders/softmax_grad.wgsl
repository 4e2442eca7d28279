// dp[m, n] = scale probs[m, n] (dp[m, n] - sum_j probs[m, j] dp[m, j])
//
// probs, dp [M, N] f32 with row strides, dp in place
//
// One workgroup per row. Lane l sums products l, l + WG, ... in order; the lanes' sums are added in the
// tree of shared/reduce.
//
// WG is a constant of the device: the order of the sum must not depend on M.
#import shared/grid
struct Params {
    m: u32,
    n: u32,
    probs_offset: u32,
    probs_stride: u32,
    dp_offset: u32,
    dp_stride: u32,
    scale: f32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
@group(0) @binding(0) var<storage, PROBS_ACCESS> probs: array<f32>;
@group(0) @binding(1) var<storage, DP_ACCESS> dp: array<f32>;

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
    let probs_row = p.probs_offset + m * p.probs_stride;
    let row = p.dp_offset + m * p.dp_stride;
    var mean = 0.0;
    for (var i = lane; i < p.n; i += WG) {
        mean = fma(probs[probs_row + i], dp[row + i], mean);
    }
    mean = reduce_sum(lane, mean);
    for (var i = lane; i < p.n; i += WG) {
        dp[row + i] = p.scale * probs[probs_row + i] * (dp[row + i] - mean);
    }
}
