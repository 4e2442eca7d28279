// Q4_0: d * (c - 8).
#import shared/quant_nibbles
#import shared/quant_scale_f16

struct Block {
    codes: Nibbles,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(load_nibbles(rq, b));
}

fn half_block(block: Block, h: u32) -> Half {
    return Half(
        signed_bytes(minus(nibble(block.codes.w0, h), 8u)),
        signed_bytes(minus(nibble(block.codes.w1, h), 8u)),
        signed_bytes(minus(nibble(block.codes.w2, h), 8u)),
        signed_bytes(minus(nibble(block.codes.w3, h), 8u)),
    );
}
