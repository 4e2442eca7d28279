// Q3_K: d * sc * (c - 4).
#import shared/quant_crumbs
#import shared/quant_fifth_bits
#import shared/quant_scale_super_signed

struct Block {
    codes: Crumbs,
    bits: vec4<u32>,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(load_crumbs(rq, b), load_bits(rq, b));
}

fn three_bits(w: vec4<u32>, bits: vec4<u32>, h: u32, j: u32) -> vec4<u32> {
    let low = crumb(w, h, j & 2u);
    return minus(low | (bit_of_quad(bits, 4u * h + j) << vec4<u32>(2u)), 4u);
}

fn half_block(block: Block, h: u32) -> Half {
    return Half(
        signed_bytes(three_bits(block.codes.w0, block.bits, h, 0u)),
        signed_bytes(three_bits(block.codes.w1, block.bits, h, 1u)),
        signed_bytes(three_bits(block.codes.w0, block.bits, h, 2u)),
        signed_bytes(three_bits(block.codes.w1, block.bits, h, 3u)),
    );
}
