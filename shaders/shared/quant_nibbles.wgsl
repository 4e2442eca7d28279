// Codes of 4 bits: [g][b][4][r] u32.
@group(0) @binding(0) var<storage, W_CODES_ACCESS> w_codes: array<vec4<u32>>;

struct Nibbles {
    w0: vec4<u32>,
    w1: vec4<u32>,
    w2: vec4<u32>,
    w3: vec4<u32>,
}

fn load_nibbles(rq: u32, b: u32) -> Nibbles {
    let at = plane_index(rq, 4u * p.blocks, 4u * b);
    return Nibbles(w_codes[at], w_codes[at + 4u], w_codes[at + 8u], w_codes[at + 12u]);
}

// Quads 4 h .. 4 h + 4 are the low (h = 0) or high nibbles of the four words.
fn nibble(w: vec4<u32>, h: u32) -> vec4<u32> {
    return (w >> vec4<u32>(4u * h)) & vec4<u32>(0x0f0f0f0fu);
}
