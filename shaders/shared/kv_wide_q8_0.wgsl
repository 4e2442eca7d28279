// Pages in q8_0, by vectors: blocks of 32 codes for keys, eight codes for values; f16 scales.
@group(0) @binding(1) var<storage, K_PAGES_ACCESS> k_pages: array<vec4<u32>>;
@group(0) @binding(2) var<storage, V_PAGES_ACCESS> v_pages: array<vec4<u32>>;
@group(0) @binding(3) var<storage, K_SCALE_ACCESS> k_scale: array<u32>;
@group(0) @binding(4) var<storage, V_SCALE_ACCESS> v_scale: array<u32>;

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn codes_of(word: u32, d: f32) -> vec4<f32> {
    let w = bitcast<i32>(word);
    return d * vec4<f32>(vec4<i32>(w << 24u, w << 16u, w << 8u, w) >> vec4<u32>(24u));
}

fn k_block(head: u32, b: u32) -> array<vec4<f32>, 8> {
    let block = head * (HEAD / 32u) + b;
    let d = unpack2x16float(k_scale[p.k_scale_offset + block / 2u] >> (16u * (block & 1u))).x;
    let at = p.k_offset / 4u + 2u * block;
    let a = k_pages[at];
    let c = k_pages[at + 1u];
    return array<vec4<f32>, 8>(
        codes_of(a.x, d), codes_of(a.y, d), codes_of(a.z, d), codes_of(a.w, d),
        codes_of(c.x, d), codes_of(c.y, d), codes_of(c.z, d), codes_of(c.w, d),
    );
}

fn v_eight(head: u32, i: u32) -> Eight {
    let block = head * (HEAD / 32u) + i / 4u;
    let d = unpack2x16float(v_scale[p.v_scale_offset + block / 2u] >> (16u * (block & 1u))).x;
    let w = v_pages[p.v_offset / 4u + head * (HEAD / 16u) + i / 2u];
    let pair = select(w.xy, w.zw, (i & 1u) == 1u);
    return Eight(codes_of(pair.x, d), codes_of(pair.y, d));
}
