// Pages in f32: words are values.
@group(0) @binding(1) var<storage, K_PAGES_ACCESS> k_pages: array<f32>;
@group(0) @binding(2) var<storage, V_PAGES_ACCESS> v_pages: array<f32>;

fn k_pair(head: u32, i: u32) -> vec2<f32> {
    let at = p.k_offset + head * HEAD + 2u * i;
    return vec2<f32>(k_pages[at], k_pages[at + 1u]);
}

fn v_pair(head: u32, i: u32) -> vec2<f32> {
    let at = p.v_offset + head * HEAD + 2u * i;
    return vec2<f32>(v_pages[at], v_pages[at + 1u]);
}
