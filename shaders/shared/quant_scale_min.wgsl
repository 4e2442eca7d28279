// Scale and minimum per block as two f16: [g][b][r] u32.
#define MINS
@group(0) @binding(2) var<storage, W_SCALES_ACCESS> w_scales: array<vec4<u32>>;

fn block_scale(rq: u32, b: u32, h: u32) -> Scale {
    let v = w_scales[plane_index(rq, p.blocks, b)];
    return Scale(low_halves(v), high_halves(v));
}
