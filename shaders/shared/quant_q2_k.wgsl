// Q2_K: d * sc * c - dmin * mn; sc and mn are the nibbles of one byte per half block.
#define MINS
#import shared/quant_crumbs
@group(0) @binding(2) var<storage, W_SCALES_ACCESS> w_scales: array<vec2<u32>>;
@group(0) @binding(3) var<storage, W_SUPERS_ACCESS> w_supers: array<vec4<u32>>;

struct Block {
    codes: Crumbs,
}

fn load_block(rq: u32, b: u32) -> Block {
    return Block(load_crumbs(rq, b));
}

fn block_scale(rq: u32, b: u32, h: u32) -> Scale {
    let v = spread(w_scales[plane_index(rq, p.blocks, b)]) >> vec4<u32>(8u * h);
    let s = w_supers[plane_index(rq, p.blocks / 8u, b / 8u)];
    let nibble = vec4<u32>(15u);
    return Scale(
        low_halves(s) * vec4<f32>(v & nibble),
        -high_halves(s) * vec4<f32>((v >> vec4<u32>(4u)) & nibble),
    );
}

fn half_block(block: Block, h: u32) -> Half {
    return Half(
        signed_bytes(crumb(block.codes.w0, h, 0u)),
        signed_bytes(crumb(block.codes.w1, h, 0u)),
        signed_bytes(crumb(block.codes.w0, h, 2u)),
        signed_bytes(crumb(block.codes.w1, h, 2u)),
    );
}
