// Pages in f16: a word is a pair.
@group(0) @binding(1) var<storage, K_PAGES_ACCESS> k_pages: array<u32>;
@group(0) @binding(2) var<storage, V_PAGES_ACCESS> v_pages: array<u32>;

fn k_pair(head: u32, i: u32) -> vec2<f32> {
    return unpack2x16float(k_pages[p.k_offset + head * (HEAD / 2u) + i]);
}

fn v_pair(head: u32, i: u32) -> vec2<f32> {
    return unpack2x16float(v_pages[p.v_offset + head * (HEAD / 2u) + i]);
}
