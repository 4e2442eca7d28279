// pages[slots[m]] = (k[m], v[m]) in the format of the pages, unless slots[m] is not below S
//   q8_0  scale = f16(max|x| / 127), code = clamp(round_half_even(x / scale)), blocks of 32 along d
//
// k, v [M, G, d] f32, rows may be strided  slots [M] u32  k_pages, v_pages [S, G, d]
// k_scale, v_scale [S, G, d/32] f16
//
// One invocation per word of a row (f32: 1 element, f16: 2), or per block of 32 (q8_0). Two slots may
// share a word of scales, so halves are set by atomics.
//
// A token's bytes depend on that token only.
#import shared/grid
#import shared/half
struct Params {
    m: u32,
    s: u32,
    row: u32,
    units: u32,
    k_offset: u32,
    k_stride: u32,
    v_offset: u32,
    v_stride: u32,
    slots_offset: u32,
    slots_stride: u32,
    k_pages_offset: u32,
    v_pages_offset: u32,
    k_scale_offset: u32,
    v_scale_offset: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, K_ACCESS> k: array<f32>;
@group(0) @binding(1) var<storage, V_ACCESS> v: array<f32>;
@group(0) @binding(2) var<storage, SLOTS_ACCESS> slots: array<u32>;
@group(0) @binding(3) var<storage, K_PAGES_ACCESS> k_pages: array<u32>;
@group(0) @binding(4) var<storage, V_PAGES_ACCESS> v_pages: array<u32>;
#ifdef KV_Q8_0
@group(0) @binding(5) var<storage, K_SCALE_ACCESS> k_scale: array<atomic<u32>>;
@group(0) @binding(6) var<storage, V_SCALE_ACCESS> v_scale: array<atomic<u32>>;

fn scale_of(largest: f32) -> u32 {
    return f16_bits(largest / 127.0);
}

fn code_of(value: f32, scale: f32) -> u32 {
    if scale == 0.0 {
        return 0u;
    }
    return u32(i32(clamp(round(value / scale), -127.0, 127.0))) & 0xffu;
}
#endif

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * WG + lane;
    if index >= p.m * p.units {
        return;
    }
    let m = index / p.units;
    let unit = index % p.units;
    let slot = slots[p.slots_offset + m * p.slots_stride];
    if slot >= p.s {
        return;
    }
    let k_row = p.k_offset + m * p.k_stride;
    let v_row = p.v_offset + m * p.v_stride;
#ifdef KV_F32
    let at = slot * p.units + unit;
    k_pages[p.k_pages_offset + at] = bitcast<u32>(k[k_row + unit]);
    v_pages[p.v_pages_offset + at] = bitcast<u32>(v[v_row + unit]);
#endif
#ifdef KV_F16
    let at = slot * p.units + unit;
    let i = 2u * unit;
    k_pages[p.k_pages_offset + at] = f16_bits(k[k_row + i]) | (f16_bits(k[k_row + i + 1u]) << 16u);
    v_pages[p.v_pages_offset + at] = f16_bits(v[v_row + i]) | (f16_bits(v[v_row + i + 1u]) << 16u);
#endif
#ifdef KV_Q8_0
    let start = 32u * unit;
    var k_largest = 0.0;
    var v_largest = 0.0;
    for (var i = 0u; i < 32u; i++) {
        k_largest = max(k_largest, abs(k[k_row + start + i]));
        v_largest = max(v_largest, abs(v[v_row + start + i]));
    }
    let k_bits = scale_of(k_largest);
    let v_bits = scale_of(v_largest);
    let k_d = unpack2x16float(k_bits).x;
    let v_d = unpack2x16float(v_bits).x;
    let at = slot * (p.row / 4u) + 8u * unit;
    for (var word = 0u; word < 8u; word++) {
        var k_word = 0u;
        var v_word = 0u;
        for (var i = 0u; i < 4u; i++) {
            let e = start + 4u * word + i;
            k_word |= code_of(k[k_row + e], k_d) << (8u * i);
            v_word |= code_of(v[v_row + e], v_d) << (8u * i);
        }
        k_pages[p.k_pages_offset + at + word] = k_word;
        v_pages[p.v_pages_offset + at + word] = v_word;
    }
    let half = slot * p.units + unit;
    let shift = 16u * (half & 1u);
    let keep = ~(0xffffu << shift);
    atomicAnd(&k_scale[p.k_scale_offset + half / 2u], keep);
    atomicOr(&k_scale[p.k_scale_offset + half / 2u], k_bits << shift);
    atomicAnd(&v_scale[p.v_scale_offset + half / 2u], keep);
    atomicOr(&v_scale[p.v_scale_offset + half / 2u], v_bits << shift);
#endif
}
