// Q5_1: d * c + m.
#import shared/quant_nibbles
#import shared/quant_fifth_bits
#import shared/quant_scale_min

struct Block {
    codes: Nibbles,
    bits: vec4<u32>,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(load_nibbles(rq, b), load_bits(rq, b));
}

fn five_bits(w: vec4<u32>, bits: vec4<u32>, h: u32, j: u32) -> vec4<u32> {
    return nibble(w, h) | (bit_of_quad(bits, 4u * h + j) << vec4<u32>(4u));
}

fn half_block(block: Block, h: u32) -> Half {
    return Half(
        signed_bytes(five_bits(block.codes.w0, block.bits, h, 0u)),
        signed_bytes(five_bits(block.codes.w1, block.bits, h, 1u)),
        signed_bytes(five_bits(block.codes.w2, block.bits, h, 2u)),
        signed_bytes(five_bits(block.codes.w3, block.bits, h, 3u)),
    );
}
