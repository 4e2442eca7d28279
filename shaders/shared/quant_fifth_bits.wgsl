// One more bit per code: [g][b][r] u32, quad q in bit q of each byte.
@group(0) @binding(1) var<storage, W_HIGH_ACCESS> w_high: array<vec4<u32>>;

fn load_bits(rq: u32, b: u32) -> vec4<u32> {
    return w_high[plane_index(rq, p.blocks, b)];
}

fn bit_of_quad(w: vec4<u32>, q: u32) -> vec4<u32> {
    return (w >> vec4<u32>(q)) & vec4<u32>(0x01010101u);
}
