// Pages in f32, by vectors: blocks of 32 elements for keys, eight elements for values.
@group(0) @binding(1) var<storage, K_PAGES_ACCESS> k_pages: array<vec4<f32>>;
@group(0) @binding(2) var<storage, V_PAGES_ACCESS> v_pages: array<vec4<f32>>;

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn k_block(head: u32, b: u32) -> array<vec4<f32>, 8> {
    let at = p.k_offset / 4u + head * (HEAD / 4u) + 8u * b;
    return array<vec4<f32>, 8>(
        k_pages[at], k_pages[at + 1u], k_pages[at + 2u], k_pages[at + 3u],
        k_pages[at + 4u], k_pages[at + 5u], k_pages[at + 6u], k_pages[at + 7u],
    );
}

fn v_eight(head: u32, i: u32) -> Eight {
    let at = p.v_offset / 4u + head * (HEAD / 4u) + 2u * i;
    return Eight(v_pages[at], v_pages[at + 1u]);
}
