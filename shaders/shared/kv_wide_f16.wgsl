// Pages in f16, by vectors: blocks of 32 elements for keys, eight elements for values.
@group(0) @binding(1) var<storage, K_PAGES_ACCESS> k_pages: array<vec4<u32>>;
@group(0) @binding(2) var<storage, V_PAGES_ACCESS> v_pages: array<vec4<u32>>;

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn eight_halves(w: vec4<u32>) -> Eight {
    return Eight(
        vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)),
        vec4<f32>(unpack2x16float(w.z), unpack2x16float(w.w)),
    );
}

fn k_block(head: u32, b: u32) -> array<vec4<f32>, 8> {
    let at = p.k_offset / 4u + head * (HEAD / 8u) + 4u * b;
    let w0 = eight_halves(k_pages[at]);
    let w1 = eight_halves(k_pages[at + 1u]);
    let w2 = eight_halves(k_pages[at + 2u]);
    let w3 = eight_halves(k_pages[at + 3u]);
    return array<vec4<f32>, 8>(w0.low, w0.high, w1.low, w1.high, w2.low, w2.high, w3.low, w3.high);
}

fn v_eight(head: u32, i: u32) -> Eight {
    return eight_halves(v_pages[p.v_offset / 4u + head * (HEAD / 8u) + i]);
}
