// Tree attention through workgroup memory, for any head size and number of lanes.
//
// Scores: lane l takes positions l, l + WG, ... of a chunk and sums along d in order. Values: lane l
// owns pairs l, l + WG, ... of the head and sums the chunk's positions in order.
var<workgroup> scores: array<f32, CHUNK>;
var<workgroup> heads: array<u32, CHUNK>;

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
    let seen = seen_by(index);
    var largest = LOWEST;
    var total = 0.0;
    var sums = array<vec2<f32>, PAIRS>();
    for (var base = seen.start / CHUNK * CHUNK; base < seen.end; base += CHUNK) {
        let low = max(seen.start, base) - base;
        let high = min(seen.end - base, CHUNK);
        for (var i = low + lane; i < high; i += WG) {
            let head = head_at(seen, base + i);
            var score = 0.0;
            for (var e = 0u; e < HEAD / 2u; e++) {
                let pair = k_pair(head, e);
                score = fma(q[seen.q_row + 2u * e], pair.x, score);
                score = fma(q[seen.q_row + 2u * e + 1u], pair.y, score);
            }
            scores[i] = score * p.scale;
            heads[i] = head;
        }
        workgroupBarrier();
        var chunk_largest = LOWEST;
        for (var i = low; i < high; i++) {
            chunk_largest = max(chunk_largest, scores[i]);
        }
        workgroupBarrier();
        for (var i = low + lane; i < high; i += WG) {
            scores[i] = exp_f32(scores[i] - chunk_largest);
        }
        workgroupBarrier();
        var chunk_total = 0.0;
        var chunk_sums = array<vec2<f32>, PAIRS>();
        for (var i = low; i < high; i++) {
            let weight = scores[i];
            let head = heads[i];
            chunk_total = chunk_total + weight;
            for (var j = 0u; j < PAIRS; j++) {
                let e = min(lane + j * WG, HEAD / 2u - 1u);
                chunk_sums[j] = fma(vec2<f32>(weight), v_pair(head, e), chunk_sums[j]);
            }
        }
        workgroupBarrier();
        let next = max(largest, chunk_largest);
        let keep = exp_f32(largest - next);
        let take = exp_f32(chunk_largest - next);
        total = fma(total, keep, chunk_total * take);
        for (var j = 0u; j < PAIRS; j++) {
            sums[j] = fma(sums[j], vec2<f32>(keep), chunk_sums[j] * take);
        }
        largest = next;
    }

    for (var j = 0u; j < PAIRS; j++) {
        let e = lane + j * WG;
        if e < HEAD / 2u {
            let value = select(vec2<f32>(), sums[j] / total, vec2<bool>(total > 0.0));
            out[seen.out_row + 2u * e] = value.x;
            out[seen.out_row + 2u * e + 1u] = value.y;
        }
    }
}
