// Codes of 2 bits: [g][b][2][r] u32.
@group(0) @binding(0) var<storage, W_CODES_ACCESS> w_codes: array<vec4<u32>>;

struct Crumbs {
    w0: vec4<u32>,
    w1: vec4<u32>,
}

fn load_crumbs(rq: u32, b: u32) -> Crumbs {
    let at = plane_index(rq, 2u * p.blocks, 2u * b);
    return Crumbs(w_codes[at], w_codes[at + 4u]);
}

// Quad 4 h + j is two bits of word j % 2, from bit 4 h + 2 (j / 2); `up` is 0 for j < 2, else 2.
fn crumb(w: vec4<u32>, h: u32, up: u32) -> vec4<u32> {
    return (w >> vec4<u32>(4u * h + up)) & vec4<u32>(0x03030303u);
}
