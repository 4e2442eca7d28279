// out[m, h] = sum_p softmax_p(scale q[m, h] . k[p, g]) v[p, g], g = h G / H, over the positions p that
// row m sees: the last W (all if W = 0) of prefix[m] positions found through the block table and
// path[m] found through path_slots
//
// q [M, H, d] f32  k_pages, v_pages [S, G, d]  k_scale, v_scale [S, G, d/32] f16
// table [B, 1 or G, T] u32  seq [M] u32  prefix [M, 1 or G] u32  path [M] u32  path_slots [M, L] u32
// out [M, H, d] f32; q and out with row strides
//
// One workgroup per head of a row, over chunks of positions; within a chunk, lanes own positions for
// the scores and elements for the values. shared/attention_workgroup has chunks of CHUNK positions and
// shares scores through workgroup memory; shared/attention_broadcast has chunks of eight in the lanes
// of one subgroup. Chunks are merged in order by log-sum-exp.
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
#ifdef BROADCAST
#ifdef KV_F32
#import shared/kv_wide_f32
#endif
#ifdef KV_F16
#import shared/kv_wide_f16
#endif
#ifdef KV_Q8_0
#import shared/kv_wide_q8_0
#endif
#else
#ifdef KV_F32
#import shared/kv_f32
#endif
#ifdef KV_F16
#import shared/kv_f16
#endif
#ifdef KV_Q8_0
#import shared/kv_q8_0
#endif
#endif
@group(0) @binding(5) var<storage, TABLE_ACCESS> table: array<u32>;
@group(0) @binding(6) var<storage, SEQ_ACCESS> seq: array<u32>;
@group(0) @binding(7) var<storage, PREFIX_ACCESS> prefix: array<u32>;
@group(0) @binding(8) var<storage, PATH_ACCESS> path: array<u32>;
@group(0) @binding(9) var<storage, PATH_SLOTS_ACCESS> path_slots: array<u32>;
@group(0) @binding(10) var<storage, OUT_ACCESS> out: array<f32>;

// What one head of one row sees.
struct Seen {
    m: u32,
    g: u32,
    // First and one past the last position, and the first that is found through path_slots.
    start: u32,
    end: u32,
    before: u32,
    // First page of the block table's row.
    pages: u32,
    q_row: u32,
    out_row: u32,
}

fn seen_by(index: u32) -> Seen {
    let m = index / p.h;
    let h = index % p.h;
    let g = h / (p.h / p.g);
    let before = prefix[p.prefix_offset + m * p.prefix_heads + min(g, p.prefix_heads - 1u)];
    let end = before + min(path[p.path_offset + m * p.path_stride], p.path_len);
    let start = select(0u, end - min(p.window, end), p.window > 0u);
    let row = min(seq[p.seq_offset + m * p.seq_stride], p.seqs - 1u);
    let pages = p.table_offset + (row * p.table_heads + min(g, p.table_heads - 1u)) * p.table_pages;
    let q_row = p.q_offset + m * p.q_stride + h * HEAD;
    return Seen(m, g, start, end, before, pages, q_row, p.out_offset + m * p.out_stride + h * HEAD);
}

// Number of the head of d elements that holds a position, in k_pages and in v_pages.
fn head_at(seen: Seen, position: u32) -> u32 {
    var slot = 0u;
    if position < seen.before {
        let page = min(position / p.page, p.table_pages - 1u);
        slot = table[seen.pages + page] * p.page + position % p.page;
    } else {
        slot = path_slots[p.path_slots_offset + seen.m * p.path_len + position - seen.before];
    }
    return min(slot, p.slots - 1u) * p.g + seen.g;
}

#ifdef BROADCAST
#import shared/attention_broadcast
#else
#import shared/attention_workgroup
#endif
