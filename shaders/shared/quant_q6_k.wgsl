// Q6_K: d * sc * (c - 32); high [g][b][2][r] u32 holds the top two bits.
#import shared/quant_nibbles
#import shared/quant_scale_super_signed
@group(0) @binding(1) var<storage, W_HIGH_ACCESS> w_high: array<vec4<u32>>;

struct Block {
    codes: Nibbles,
    high0: vec4<u32>,
    high1: vec4<u32>,
}

fn load_block(rq: u32, b: u32) -> Block {
    let at = plane_index(rq, 2u * p.blocks, 2u * b);
    return Block(load_nibbles(rq, b), w_high[at], w_high[at + 4u]);
}

// The top bits of quad 4 h + j begin at bit 4 h + 2 (j / 2) of word j % 2.
fn six_bits(w: vec4<u32>, high: vec4<u32>, h: u32, up: u32) -> vec4<u32> {
    let top = (high >> vec4<u32>(4u * h + up)) & vec4<u32>(0x03030303u);
    return minus(nibble(w, h) | (top << vec4<u32>(4u)), 32u);
}

fn half_block(block: Block, h: u32) -> Half {
    return Half(
        signed_bytes(six_bits(block.codes.w0, block.high0, h, 0u)),
        signed_bytes(six_bits(block.codes.w1, block.high1, h, 0u)),
        signed_bytes(six_bits(block.codes.w2, block.high0, h, 2u)),
        signed_bytes(six_bits(block.codes.w3, block.high1, h, 2u)),
    );
}
