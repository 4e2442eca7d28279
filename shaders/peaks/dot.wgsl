// Eight chains of dot products of four signed bytes: what int8 arithmetic can do at most.
// 64 operations an iteration and invocation; each product feeds the next one of its chain.

@group(0) @binding(0) var<storage, read> src: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<f32>>;

override ITERATIONS: u32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = bitcast<u32>(src[0].x);
    var a = i32(id.x);
    var b = a + 1;
    var c = a + 2;
    var d = a + 3;
    var e = a + 4;
    var f = a + 5;
    var g = a + 6;
    var h = a + 7;
    for (var i = 0u; i < ITERATIONS; i++) {
        a = dot4I8Packed(bitcast<u32>(a), x);
        b = dot4I8Packed(bitcast<u32>(b), x);
        c = dot4I8Packed(bitcast<u32>(c), x);
        d = dot4I8Packed(bitcast<u32>(d), x);
        e = dot4I8Packed(bitcast<u32>(e), x);
        f = dot4I8Packed(bitcast<u32>(f), x);
        g = dot4I8Packed(bitcast<u32>(g), x);
        h = dot4I8Packed(bitcast<u32>(h), x);
    }
    dst[id.x] = vec4<f32>(f32(a + b), f32(c + d), f32(e + f), f32(g + h));
}
