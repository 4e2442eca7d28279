// for i ascending: pages[dst[i]] = pages[src[i]], unless a slot is not below S
//
// src, dst [M] u32  k_pages, v_pages [S, G, d] in any format  k_scale, v_scale [S, G, d/32] f16
//
// An invocation owns one 32-bit word of the slot and makes all moves in order, so that a source which
// an earlier move has filled is seen filled. An odd number of f16 scales per slot shares words between
// slots; then invocation 0 alone moves all scales.
//
// Bits are moved; nothing is computed. Moves must stay in order.
#import shared/grid
struct Params {
    m: u32,
    s: u32,
    slot_words: u32,
    slot_scales: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
    k_offset: u32,
    v_offset: u32,
    k_scale_offset: u32,
    v_scale_offset: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, SRC_ACCESS> src: array<u32>;
@group(0) @binding(1) var<storage, DST_ACCESS> dst: array<u32>;
@group(0) @binding(2) var<storage, K_PAGES_ACCESS> k_pages: array<u32>;
@group(0) @binding(3) var<storage, V_PAGES_ACCESS> v_pages: array<u32>;
#ifdef SCALES
@group(0) @binding(4) var<storage, K_SCALE_ACCESS> k_scale: array<u32>;
@group(0) @binding(5) var<storage, V_SCALE_ACCESS> v_scale: array<u32>;

// `into` with its half number `half & 1` replaced by half number `from_half & 1` of `source`.
fn move_half(into: u32, half: u32, source: u32, from_half: u32) -> u32 {
    let bits = (source >> (16u * (from_half & 1u))) & 0xffffu;
    let shift = 16u * (half & 1u);
    return (into & ~(0xffffu << shift)) | (bits << shift);
}

fn move_scales(index: u32, s: u32, d: u32) {
    if p.slot_scales % 2u == 0u {
        let words = p.slot_scales / 2u;
        if index < words {
            k_scale[p.k_scale_offset + d * words + index] = k_scale[p.k_scale_offset + s * words + index];
            v_scale[p.v_scale_offset + d * words + index] = v_scale[p.v_scale_offset + s * words + index];
        }
    } else if index == 0u {
        for (var i = 0u; i < p.slot_scales; i++) {
            let from_half = s * p.slot_scales + i;
            let half = d * p.slot_scales + i;
            let k_at = p.k_scale_offset + half / 2u;
            let v_at = p.v_scale_offset + half / 2u;
            k_scale[k_at] = move_half(k_scale[k_at], half, k_scale[p.k_scale_offset + from_half / 2u], from_half);
            v_scale[v_at] = move_half(v_scale[v_at], half, v_scale[p.v_scale_offset + from_half / 2u], from_half);
        }
    }
}
#endif

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * WG + lane;
    if index >= p.slot_words {
        return;
    }
    for (var i = 0u; i < p.m; i++) {
        let s = src[p.src_offset + i * p.src_stride];
        let d = dst[p.dst_offset + i * p.dst_stride];
        if s < p.s && d < p.s {
            k_pages[p.k_offset + d * p.slot_words + index] = k_pages[p.k_offset + s * p.slot_words + index];
            v_pages[p.v_offset + d * p.slot_words + index] = v_pages[p.v_offset + s * p.slot_words + index];
#ifdef SCALES
            move_scales(index, s, d);
#endif
        }
    }
}
