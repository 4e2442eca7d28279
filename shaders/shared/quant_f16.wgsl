// F16: codes [g][k/2][r] u32, element k even in the low half.
#define PLAIN
@group(0) @binding(0) var<storage, W_CODES_ACCESS> w_codes: array<vec4<u32>>;

struct Block {
    rq: u32,
    b: u32,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(rq, b);
}

fn plain_quad(rq: u32, k: u32) -> mat4x4<f32> {
    let at = plane_index(rq, 16u * p.blocks, k / 2u);
    let a = w_codes[at];
    let b = w_codes[at + 4u];
    return mat4x4<f32>(low_halves(a), high_halves(a), low_halves(b), high_halves(b));
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
