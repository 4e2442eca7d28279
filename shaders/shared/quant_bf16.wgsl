// BF16: codes [g][k/2][r] u32, element k even in the low half; the upper half of an f32.
#define PLAIN
@group(0) @binding(0) var<storage, W_CODES_ACCESS> w_codes: array<vec4<u32>>;

struct Block {
    rq: u32,
    b: u32,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(rq, b);
}

fn upper_half(v: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(v & vec4<u32>(0xffff0000u));
}

fn plain_quad(rq: u32, k: u32) -> mat4x4<f32> {
    let at = plane_index(rq, 16u * p.blocks, k / 2u);
    let a = w_codes[at];
    let b = w_codes[at + 4u];
    let up = vec4<u32>(16u);
    return mat4x4<f32>(upper_half(a << up), upper_half(a), upper_half(b << up), upper_half(b));
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
