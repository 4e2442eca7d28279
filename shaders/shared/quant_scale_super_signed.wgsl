// Signed 8-bit scale per half block: [g][b][r] u16, times one f16 per super-block: [g][s][r].
@group(0) @binding(2) var<storage, W_SCALES_ACCESS> w_scales: array<vec2<u32>>;
@group(0) @binding(3) var<storage, W_SUPERS_ACCESS> w_supers: array<vec2<u32>>;

fn block_scale(rq: u32, b: u32, h: u32) -> Scale {
    let v = spread(w_scales[plane_index(rq, p.blocks, b)]) << vec4<u32>(24u - 8u * h);
    let sc = bitcast<vec4<i32>>(v) >> vec4<u32>(24u);
    let s = w_supers[plane_index(rq, p.blocks / 8u, b / 8u)];
    return Scale(halves(s) * vec4<f32>(sc), vec4<f32>());
}
