// Pages in q8_0: a word is four codes; an f16 scale per 32 elements of a head.
@group(0) @binding(1) var<storage, K_PAGES_ACCESS> k_pages: array<u32>;
@group(0) @binding(2) var<storage, V_PAGES_ACCESS> v_pages: array<u32>;
@group(0) @binding(3) var<storage, K_SCALE_ACCESS> k_scale: array<u32>;
@group(0) @binding(4) var<storage, V_SCALE_ACCESS> v_scale: array<u32>;

// Bytes 2 (i & 1) and 2 (i & 1) + 1 of a word.
fn code_pair(word: u32, i: u32) -> vec2<f32> {
    let w = bitcast<i32>(word >> (16u * (i & 1u)));
    return vec2<f32>(f32((w << 24u) >> 24u), f32((w << 16u) >> 24u));
}

fn k_pair(head: u32, i: u32) -> vec2<f32> {
    let at = head * (HEAD / 32u) + i / 16u;
    let d = unpack2x16float(k_scale[p.k_scale_offset + at / 2u] >> (16u * (at & 1u))).x;
    return d * code_pair(k_pages[p.k_offset + head * (HEAD / 4u) + i / 2u], i);
}

fn v_pair(head: u32, i: u32) -> vec2<f32> {
    let at = head * (HEAD / 32u) + i / 16u;
    let d = unpack2x16float(v_scale[p.v_scale_offset + at / 2u] >> (16u * (at & 1u))).x;
    return d * code_pair(v_pages[p.v_offset + head * (HEAD / 4u) + i / 2u], i);
}
