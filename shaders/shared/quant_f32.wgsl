// F32: codes [g][k][r] f32.
#define PLAIN
@group(0) @binding(0) var<storage, W_CODES_ACCESS> w_codes: array<vec4<f32>>;

struct Block {
    rq: u32,
    b: u32,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(rq, b);
}

fn plain_quad(rq: u32, k: u32) -> mat4x4<f32> {
    let at = plane_index(rq, 32u * p.blocks, k);
    return mat4x4<f32>(w_codes[at], w_codes[at + 4u], w_codes[at + 8u], w_codes[at + 12u]);
}

fn half_block(block: Block, h: u32) -> Half {
    let k = 32u * block.b + 16u * h;
    return Half(
        plain_quad(block.rq, k),
        plain_quad(block.rq, k + 4u),
        plain_quad(block.rq, k + 8u),
        plain_quad(block.rq, k + 12u),
    );
}
