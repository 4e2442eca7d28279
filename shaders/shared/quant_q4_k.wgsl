// Q4_K: d * sc * c - dmin * mn.
#import shared/quant_nibbles
#import shared/quant_scale_super_min

struct Block {
    codes: Nibbles,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(load_nibbles(rq, b));
}

fn half_block(block: Block, h: u32) -> Half {
    return Half(
        signed_bytes(nibble(block.codes.w0, h)),
        signed_bytes(nibble(block.codes.w1, h)),
        signed_bytes(nibble(block.codes.w2, h)),
        signed_bytes(nibble(block.codes.w3, h)),
    );
}
