// Tree attention in eight lanes of one subgroup, for head sizes that are multiples of 32: for devices
// on which workgroup memory and barriers are dear. No value that lanes share goes through memory.
//
// A chunk is eight positions. Scores: lane l takes position l of the chunk and sums along d in order,
// with q held across the lanes, a quad each. Values: lane l owns elements 8 (l + 8 j) .. + 8 and sums
// the chunk's positions in order.
const LANES: u32 = 8;

fn dot_quad(a: vec4<f32>, b: vec4<f32>, sum: f32) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

fn score_of(held: ptr<function, array<vec4<f32>, BLOCKS>>, head: u32) -> f32 {
    var sum = 0.0;
    for (var b = 0u; b < BLOCKS; b++) {
        let k = k_block(head, b);
        let v = (*held)[b];
        sum = dot_quad(k[0], subgroupBroadcast(v, 0u), sum);
        sum = dot_quad(k[1], subgroupBroadcast(v, 1u), sum);
        sum = dot_quad(k[2], subgroupBroadcast(v, 2u), sum);
        sum = dot_quad(k[3], subgroupBroadcast(v, 3u), sum);
        sum = dot_quad(k[4], subgroupBroadcast(v, 4u), sum);
        sum = dot_quad(k[5], subgroupBroadcast(v, 5u), sum);
        sum = dot_quad(k[6], subgroupBroadcast(v, 6u), sum);
        sum = dot_quad(k[7], subgroupBroadcast(v, 7u), sum);
    }
    return sum;
}

// Adds weight * v. Positions that the row does not see have weight 0, and their values may be anything.
fn add_values(sums: ptr<function, array<Eight, PARTS>>, weight: f32, head: u32, lane: u32) {
    for (var j = 0u; j < PARTS; j++) {
        let value = v_eight(head, min(lane + LANES * j, HEAD / 8u - 1u));
        let used = vec4<bool>(weight > 0.0);
        (*sums)[j].low = fma(vec4<f32>(weight), select(vec4<f32>(), value.low, used), (*sums)[j].low);
        (*sums)[j].high = fma(vec4<f32>(weight), select(vec4<f32>(), value.high, used), (*sums)[j].high);
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let index = group_index(group, groups);
    if index >= p.m * p.h {
        return;
    }
    let seen = seen_by(index);
    var held: array<vec4<f32>, BLOCKS>;
    for (var b = 0u; b < BLOCKS; b++) {
        let at = seen.q_row + 32u * b + 4u * lane;
        held[b] = vec4<f32>(q[at], q[at + 1u], q[at + 2u], q[at + 3u]);
    }
    var largest = LOWEST;
    var total = 0.0;
    var sums = array<Eight, PARTS>();
    for (var base = seen.start / LANES * LANES; base < seen.end; base += LANES) {
        let position = base + lane;
        let visible = position >= seen.start && position < seen.end;
        let head = head_at(seen, clamp(position, seen.start, seen.end - 1u));
        let score = select(LOWEST, score_of(&held, head) * p.scale, visible);
        let chunk_largest = subgroupMax(score);
        let weight = select(0.0, exp_f32(score - chunk_largest), visible);
        var chunk_total = 0.0;
        chunk_total = chunk_total + subgroupBroadcast(weight, 0u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 1u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 2u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 3u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 4u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 5u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 6u);
        chunk_total = chunk_total + subgroupBroadcast(weight, 7u);
        var chunk = array<Eight, PARTS>();
        add_values(&chunk, subgroupBroadcast(weight, 0u), subgroupBroadcast(head, 0u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 1u), subgroupBroadcast(head, 1u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 2u), subgroupBroadcast(head, 2u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 3u), subgroupBroadcast(head, 3u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 4u), subgroupBroadcast(head, 4u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 5u), subgroupBroadcast(head, 5u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 6u), subgroupBroadcast(head, 6u), lane);
        add_values(&chunk, subgroupBroadcast(weight, 7u), subgroupBroadcast(head, 7u), lane);
        let next = max(largest, chunk_largest);
        let keep = exp_f32(largest - next);
        let take = exp_f32(chunk_largest - next);
        total = fma(total, keep, chunk_total * take);
        for (var j = 0u; j < PARTS; j++) {
            sums[j].low = fma(sums[j].low, vec4<f32>(keep), chunk[j].low * take);
            sums[j].high = fma(sums[j].high, vec4<f32>(keep), chunk[j].high * take);
        }
        largest = next;
    }

    for (var j = 0u; j < PARTS; j++) {
        let e = 8u * (lane + LANES * j);
        if e < HEAD {
            let used = vec4<bool>(total > 0.0);
            let low = select(vec4<f32>(), sums[j].low / total, used);
            let high = select(vec4<f32>(), sums[j].high / total, used);
            for (var i = 0u; i < 4u; i++) {
                out[seen.out_row + e + i] = low[i];
                out[seen.out_row + e + 4u + i] = high[i];
            }
        }
    }
}
