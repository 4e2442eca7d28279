// (sum exp(z), sum exp(z) z) with z = logits[row + i] - top over the V elements of a row.
fn softmax_sums(lane: u32, row: u32, top: f32) -> vec2<f32> {
    var total = vec2<f32>(0.0, 0.0);
    for (var first = lane; first < p.v; first += 32u * WG) {
        var run = vec2<f32>(0.0, 0.0);
        let end = min(p.v, first + 32u * WG);
        for (var i = first; i < end; i += WG) {
            let z = logits[row + i] - top;
            let e = exp_f32(z);
            // exp(z) z tends to 0 where z is minus infinity.
            run += vec2<f32>(e, select(0.0, e * z, e > 0.0));
        }
        total += run;
    }
    let s = reduce_sum(lane, total.x);
    let t = reduce_sum(lane, total.y);
    return vec2<f32>(s, t);
}
