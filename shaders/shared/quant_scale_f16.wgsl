// One f16 scale per block: [g][b][r].
@group(0) @binding(2) var<storage, W_SCALES_ACCESS> w_scales: array<vec2<u32>>;

fn block_scale(rq: u32, b: u32, h: u32) -> Scale {
    return Scale(halves(w_scales[plane_index(rq, p.blocks, b)]), vec4<f32>());
}
