// out[m, h] = sum_p softmax_p(scale q[m, h] . k[p, g]) v[p, g], g = h G / H, over the positions p that
// row m sees: the last W (all if W = 0) of prefix[m] positions found through the block table and
// path[m] found through path_slots
//
// q [M, H, d] f32  k_pages, v_pages [S, G, d]  k_scale, v_scale [S, G, d/32] f16
// table [B, 1 or G, T] u32  seq [M] u32  prefix [M, 1 or G] u32  path [M] u32  path_slots [M, L] u32
// out [M, H, d] f32; q and out with row strides
//
// One workgroup per head of a row, over chunks of CHUNK positions. Scores: lane l takes positions
// l, l + WG, ... of the chunk and sums along d in order. Values: lane l owns pairs l, l + WG, ... of
// the head and sums the chunk's positions in order. Chunks are merged in order by log-sum-exp.
//
// Chunks are aligned to absolute positions, and nothing depends on where the path begins or on M: a
// tree node gets the bits of plain decoding of its path.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    h: u32,
    g: u32,
    q_offset: u32,
    q_stride: u32,
    k_offset: u32,
    v_offset: u32,
    k_scale_offset: u32,
    v_scale_offset: u32,
    table_offset: u32,
    table_heads: u32,
    table_pages: u32,
    seqs: u32,
    seq_offset: u32,
    seq_stride: u32,
    prefix_offset: u32,
    prefix_heads: u32,
    path_offset: u32,
    path_stride: u32,
    path_slots_offset: u32,
    path_len: u32,
    out_offset: u32,
    out_stride: u32,
    slots: u32,
    page: u32,
    window: u32,
    scale: f32,
}
#import shared/params
override WG: u32 = 64;
const LOWEST: f32 = -3.4028234e38;
@group(0) @binding(0) var<storage, Q_ACCESS> q: array<f32>;
#ifdef KV_F32
#import shared/kv_f32
#endif
#ifdef KV_F16
#import shared/kv_f16
#endif
#ifdef KV_Q8_0
#import shared/kv_q8_0
#endif
@group(0) @binding(5) var<storage, TABLE_ACCESS> table: array<u32>;
@group(0) @binding(6) var<storage, SEQ_ACCESS> seq: array<u32>;
@group(0) @binding(7) var<storage, PREFIX_ACCESS> prefix: array<u32>;
@group(0) @binding(8) var<storage, PATH_ACCESS> path: array<u32>;
@group(0) @binding(9) var<storage, PATH_SLOTS_ACCESS> path_slots: array<u32>;
@group(0) @binding(10) var<storage, OUT_ACCESS> out: array<f32>;

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
    let m = index / p.h;
    let h = index % p.h;
    let g = h / (p.h / p.g);
    let before = prefix[p.prefix_offset + m * p.prefix_heads + min(g, p.prefix_heads - 1u)];
    let end = before + min(path[p.path_offset + m * p.path_stride], p.path_len);
    let start = select(0u, end - min(p.window, end), p.window > 0u);
    let row = min(seq[p.seq_offset + m * p.seq_stride], p.seqs - 1u);
    let pages = p.table_offset + (row * p.table_heads + min(g, p.table_heads - 1u)) * p.table_pages;
    let q_row = p.q_offset + m * p.q_stride + h * HEAD;

    var largest = LOWEST;
    var total = 0.0;
    var sums: array<vec2<f32>, PAIRS>;
    for (var chunk = start / CHUNK; chunk * CHUNK < end; chunk++) {
        let base = chunk * CHUNK;
        let low = max(start, base) - base;
        let high = min(end - base, CHUNK);
        for (var i = low + lane; i < high; i += WG) {
            let position = base + i;
            var slot = 0u;
            if position < before {
                slot = table[pages + position / p.page] * p.page + position % p.page;
            } else {
                slot = path_slots[p.path_slots_offset + m * p.path_len + position - before];
            }
            let head = min(slot, p.slots - 1u) * p.g + g;
            var score = 0.0;
            for (var e = 0u; e < HEAD / 2u; e++) {
                let pair = k_pair(head, e);
                score = fma(q[q_row + 2u * e], pair.x, score);
                score = fma(q[q_row + 2u * e + 1u], pair.y, score);
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
        var chunk_sums: array<vec2<f32>, PAIRS>;
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

    let out_row = p.out_offset + m * p.out_stride + h * HEAD;
    for (var j = 0u; j < PAIRS; j++) {
        let e = lane + j * WG;
        if e < HEAD / 2u {
            let value = select(vec2<f32>(), sums[j] / total, vec2<bool>(total > 0.0));
            out[out_row + 2u * e] = value.x;
            out[out_row + 2u * e + 1u] = value.y;
        }
    }
}
