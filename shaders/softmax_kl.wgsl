// loss[m] = w[m] sum_v q[v] (ln q[v] - ln p[v]) and, in place of l = logits[m], l[v] = w[m] (p[v] - q[v])
//   with p = softmax(logits[m]) and q = softmax(teacher[m])
//
// logits [M, V] f32 in place  teacher [M, V] f32  weights, loss [M, 1] f32; row strides
//
// One workgroup per row, three passes: maxima, sums, divergence with the gradient. Lane l takes
// elements l, l + WG, ... in runs of 32; the lanes' sums are added in the tree of shared/reduce.
//
// Logarithms are differences, never logarithms of quotients, so that equal logits give exactly 0. WG is
// a constant of the device: the order of the sums must not depend on M.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    v: u32,
    logits_offset: u32,
    logits_stride: u32,
    teacher_offset: u32,
    teacher_stride: u32,
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
@group(0) @binding(1) var<storage, TEACHER_ACCESS> teacher: array<f32>;
@group(0) @binding(2) var<storage, WEIGHTS_ACCESS> weights: array<f32>;
@group(0) @binding(3) var<storage, LOSS_ACCESS> loss: array<f32>;

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
    let teacher_row = p.teacher_offset + m * p.teacher_stride;
    var best = Best(0u, NO_ID);
    var teacher_best = Best(0u, NO_ID);
    for (var i = lane; i < p.v; i += WG) {
        best = better(best, Best(sort_key(logits[row + i]), i));
        teacher_best = better(teacher_best, Best(sort_key(teacher[teacher_row + i]), i));
    }
    best = reduce_best(lane, best);
    teacher_best = reduce_best(lane, teacher_best);
    let top = logits[row + best.id];
    let teacher_top = teacher[teacher_row + teacher_best.id];
    var sums = vec2<f32>(0.0, 0.0);
    for (var first = lane; first < p.v; first += 32u * WG) {
        var run = vec2<f32>(0.0, 0.0);
        let end = min(p.v, first + 32u * WG);
        for (var i = first; i < end; i += WG) {
            run += vec2<f32>(
                exp_f32(logits[row + i] - top),
                exp_f32(teacher[teacher_row + i] - teacher_top),
            );
        }
        sums += run;
    }
    let ln_sum = ln_f32(reduce_sum(lane, sums.x));
    let teacher_ln_sum = ln_f32(reduce_sum(lane, sums.y));

    let weight = weights[p.weights_offset + m * p.weights_stride];
    var total = 0.0;
    for (var first = lane; first < p.v; first += 32u * WG) {
        var run = 0.0;
        let end = min(p.v, first + 32u * WG);
        for (var i = first; i < end; i += WG) {
            let ln_p = (logits[row + i] - top) - ln_sum;
            let ln_q = (teacher[teacher_row + i] - teacher_top) - teacher_ln_sum;
            let q = exp_f32(ln_q);
            // q ln q tends to 0 where ln q is minus infinity.
            if q > 0.0 {
                run = fma(q, ln_q - ln_p, run);
            }
            logits[row + i] = weight * (exp_f32(ln_p) - q);
        }
        total = total + run;
    }
    total = reduce_sum(lane, total);
    if lane == 0u {
        loss[p.loss_offset + m * p.loss_stride] = weight * total;
    }
}
