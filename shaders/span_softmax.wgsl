// x[m, n] = exp(scale x[m, n]) / sum over spans[m, 0] <= n < spans[m, 1], 0 outside
//
// x [M, N] f32 in place  spans [M, 2] u32; both with row strides
//
// One workgroup per row, three passes: maximum, sum, quotients. Lane l takes elements l, l + WG, ...
// from the start of the row; the lanes' sums are added in the tree of shared/reduce.
//
// Both ends of a span are compared with N. WG is a constant of the device: the order of the sum must
// not depend on M.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    n: u32,
    x_offset: u32,
    x_stride: u32,
    spans_offset: u32,
    spans_stride: u32,
    scale: f32,
}
#import shared/params
override WG: u32 = 64;
#import shared/reduce
#import shared/best
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, SPANS_ACCESS> spans: array<u32>;

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
    let row = p.x_offset + m * p.x_stride;
    let span = p.spans_offset + m * p.spans_stride;
    let first = min(spans[span], p.n);
    let end = min(spans[span + 1u], p.n);
    var best = Best(0u, NO_ID);
    for (var i = lane; i < end; i += WG) {
        if i >= first {
            best = better(best, Best(sort_key(p.scale * x[row + i]), i));
        }
    }
    best = reduce_best(lane, best);
    // An empty span has no best: its rows become zeros below without the value being used.
    let top = p.scale * x[row + min(best.id, p.n - 1u)];
    var sum = 0.0;
    for (var i = lane; i < end; i += WG) {
        if i >= first {
            sum = sum + exp_f32(p.scale * x[row + i] - top);
        }
    }
    sum = reduce_sum(lane, sum);
    for (var i = lane; i < p.n; i += WG) {
        var value = 0.0;
        if i >= first && i < end {
            value = exp_f32(p.scale * x[row + i] - top) / sum;
        }
        x[row + i] = value;
    }
}
