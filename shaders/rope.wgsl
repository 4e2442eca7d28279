// (a, b) = (a c - b s, a s + b c) with c = cos[positions[m], i], s = sin[positions[m], i]
//   interleaved  a = x[m, h, 2i]  b = x[m, h, 2i + 1]
//   halved       a = x[m, h, i]   b = x[m, h, i + rot/2]
//
// x [M, H, d] f32 in place, rows may be strided  positions [M] u32  cos, sin [T, rot/2] f32
//
// One invocation per pair.
//
// A pair depends on its own two elements only. A position not below T leaves the row as it is.
#import shared/grid
struct Params {
    m: u32,
    h: u32,
    d: u32,
    pairs: u32,
    t: u32,
    x_offset: u32,
    x_stride: u32,
    positions_offset: u32,
    positions_stride: u32,
    cos_offset: u32,
    sin_offset: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, X_ACCESS> x: array<f32>;
@group(0) @binding(1) var<storage, POSITIONS_ACCESS> positions: array<u32>;
@group(0) @binding(2) var<storage, COS_TABLE_ACCESS> cos_table: array<f32>;
@group(0) @binding(3) var<storage, SIN_TABLE_ACCESS> sin_table: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * WG + lane;
    if index >= p.m * p.h * p.pairs {
        return;
    }
    let i = index % p.pairs;
    let head = (index / p.pairs) % p.h;
    let m = index / (p.pairs * p.h);
    let position = positions[p.positions_offset + m * p.positions_stride];
    if position >= p.t {
        return;
    }
    let c = cos_table[p.cos_offset + position * p.pairs + i];
    let s = sin_table[p.sin_offset + position * p.pairs + i];
    let start = p.x_offset + m * p.x_stride + head * p.d;
#ifdef HALVED
    let at = start + i;
    let bt = at + p.pairs;
#else
    let at = start + 2u * i;
    let bt = at + 1u;
#endif
    let a = x[at];
    let b = x[bt];
    x[at] = fma(a, c, -(b * s));
    x[bt] = fma(a, s, b * c);
}
