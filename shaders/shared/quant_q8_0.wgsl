// Q8_0: codes [g][b][8][r] u32, bytes are i8; scales [g][b][r] f16.
#import shared/quant_scale_f16
@group(0) @binding(0) var<storage, W_CODES_ACCESS> w_codes: array<vec4<u32>>;

struct Block {
    at: u32,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(plane_index(rq, 8u * p.blocks, 8u * b));
}

fn half_block(block: Block, h: u32) -> Half {
    let at = block.at + 16u * h;
    return Half(
        signed_bytes(w_codes[at]),
        signed_bytes(w_codes[at + 4u]),
        signed_bytes(w_codes[at + 8u]),
        signed_bytes(w_codes[at + 12u]),
    );
}
