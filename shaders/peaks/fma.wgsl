// Eight chains of fused multiply-adds on vectors of four: what f32 arithmetic can do at most.
// 64 operations an iteration and invocation; the result is stored, so that nothing is dropped.

@group(0) @binding(0) var<storage, read> src: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<f32>>;

override ITERATIONS: u32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = src[0];
    let y = src[1];
    var a = vec4<f32>(f32(id.x));
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    var e = a + 4.0;
    var f = a + 5.0;
    var g = a + 6.0;
    var h = a + 7.0;
    for (var i = 0u; i < ITERATIONS; i++) {
        a = fma(a, x, y);
        b = fma(b, x, y);
        c = fma(c, x, y);
        d = fma(d, x, y);
        e = fma(e, x, y);
        f = fma(f, x, y);
        g = fma(g, x, y);
        h = fma(h, x, y);
    }
    dst[id.x] = a + b + c + d + e + f + g + h;
}
