// out[m] = scale * table[ids[m]], or 0 where ids[m] >= V
//
// ids [M] u32  table [V, D] packed  out [M, D] f32 with row stride
//
// One invocation per block of 32 elements of a row. A table that exceeds a binding comes in parts, one
// dispatch each: a part writes the rows whose ids it holds, the first one also those of no part.
//
// Each element depends on its own code and scale only.
#import shared/grid
struct Params {
    m: u32,
    blocks: u32,
    first_row: u32,
    rows: u32,
    v: u32,
    ids_offset: u32,
    ids_stride: u32,
    out_offset: u32,
    out_stride: u32,
    scale: f32,
}
#import shared/params
#import shared/quant
override WG: u32 = 64;
@group(0) @binding(4) var<storage, IDS_ACCESS> ids: array<u32>;
@group(0) @binding(5) var<storage, OUT_ACCESS> out: array<f32>;

fn write_quad(at: u32, w: mat4x4<f32>, r: u32, scale: Scale) {
    for (var i = 0u; i < 4u; i++) {
#ifdef PLAIN
        let value = w[i][r];
#else
#ifdef MINS
        let value = fma(scale.d[r], w[i][r], scale.m[r]);
#else
        let value = scale.d[r] * w[i][r];
#endif
#endif
        out[at + i] = p.scale * value;
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * WG + lane;
    if index >= p.m * p.blocks {
        return;
    }
    let m = index / p.blocks;
    let b = index % p.blocks;
    let id = ids[p.ids_offset + m * p.ids_stride];
    let at = p.out_offset + m * p.out_stride + 32u * b;
    if id >= p.v {
        if p.first_row == 0u {
            for (var i = 0u; i < 32u; i++) {
                out[at + i] = 0.0;
            }
        }
        return;
    }
    if id < p.first_row || id - p.first_row >= p.rows {
        return;
    }
    let row = id - p.first_row;
    let block = load_block(row / 4u, b);
    for (var h = 0u; h < 2u; h++) {
        let w = half_block(block, h);
#ifdef PLAIN
        let scale = Scale();
#else
        let scale = block_scale(row / 4u, b, h);
#endif
        let start = at + 16u * h;
        write_quad(start, w.q0, row % 4u, scale);
        write_quad(start + 4u, w.q1, row % 4u, scale);
        write_quad(start + 8u, w.q2, row % 4u, scale);
        write_quad(start + 12u, w.q3, row % 4u, scale);
    }
}
