// dst = src: what memory can move at most.
// Each invocation walks the buffers in steps of the whole grid, so neighbours touch neighbours.

@group(0) @binding(0) var<storage, read> src: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let step = 64u * groups.x;
    for (var i = id.x; i < arrayLength(&dst); i += step) {
        dst[i] = src[i];
    }
}
