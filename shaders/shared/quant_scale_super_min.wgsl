// 6-bit scale and minimum per block: [g][b][r] u16, times two f16 per super-block: [g][s][r] u32.
#define MINS
@group(0) @binding(2) var<storage, W_SCALES_ACCESS> w_scales: array<vec2<u32>>;
@group(0) @binding(3) var<storage, W_SUPERS_ACCESS> w_supers: array<vec4<u32>>;

fn block_scale(rq: u32, b: u32, h: u32) -> Scale {
    let v = spread(w_scales[plane_index(rq, p.blocks, b)]);
    let s = w_supers[plane_index(rq, p.blocks / 8u, b / 8u)];
    return Scale(
        low_halves(s) * vec4<f32>(v & vec4<u32>(0xffu)),
        -high_halves(s) * vec4<f32>(v >> vec4<u32>(8u)),
    );
}
