// y[m, n] = sum_k w[n, k] x[m, k] (+ bias[n]), stored or added
//
// w [N, K] packed  x [M, K] f32  y [M, N] f32  bias [N] f32; x and y with row strides
//
// A lane owns four rows of w (shared/quant), every SLICES-th block of 32 along K, and COLS rows of x,
// so that one unpacked weight serves COLS rows. A workgroup holds RQ such row quads times SLICES
// slices. Order of the sum: within half a block element by element, then the scaled half blocks in
// order of k, then the slices in a tree.
//
// With CODE_TOP a lane rounds the blocks of x to codes on the way (src/quant/activations.rs), of which
// that is the largest. A block's products of codes are integers below 2^24, which f32 adds exactly.
//
// SLICES is a constant of the device. COLS follows M and must change only how many columns a lane
// carries: the operations on a column are the same for every COLS.
#import shared/grid
struct Params {
    m: u32,
    n: u32,
    blocks: u32,
    row_tiles: u32,
    col_tiles: u32,
    x_offset: u32,
    x_stride: u32,
    y_offset: u32,
    y_stride: u32,
    bias_offset: u32,
}
#import shared/params
#import shared/quant
override WG: u32 = 64;
override RQ: u32 = 4;
override SLICES: u32 = 16;
@group(0) @binding(4) var<storage, X_ACCESS> x: array<X_TYPE>;
@group(0) @binding(5) var<storage, Y_ACCESS> y: array<f32>;
#ifdef BIAS
@group(0) @binding(6) var<storage, BIAS_ACCESS> bias: array<f32>;
#endif
#ifdef SLICED
var<workgroup> slices: array<vec4<f32>, WG>;
#endif

// Elements 4 q .. 4 q + 4 of row `m`.
fn x_quad(m: u32, q: u32) -> vec4<f32> {
#ifdef X_VEC4
    return x[p.x_offset + m * p.x_stride + q];
#else
    let at = p.x_offset + m * p.x_stride + 4u * q;
    return vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
#endif
}

fn dot_quad(w: mat4x4<f32>, v: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    var s = fma(w[0], vec4<f32>(v.x), sum);
    s = fma(w[1], vec4<f32>(v.y), s);
    s = fma(w[2], vec4<f32>(v.z), s);
    return fma(w[3], vec4<f32>(v.w), s);
}

// Half a block, scaled, on top of `sum`.
fn dot_half(
    w: Half,
    scale: Scale,
    x0: vec4<f32>,
    x1: vec4<f32>,
    x2: vec4<f32>,
    x3: vec4<f32>,
    sum: vec4<f32>,
) -> vec4<f32> {
    let codes = dot_quad(w.q3, x3, dot_quad(w.q2, x2, dot_quad(w.q1, x1, dot_quad(w.q0, x0, vec4<f32>()))));
#ifdef PLAIN
    return sum + codes;
#else
    let s = fma(scale.d, codes, sum);
#ifdef MINS
    let t = (x0 + x1) + (x2 + x3);
    return fma(scale.m, vec4<f32>((t.x + t.y) + (t.z + t.w)), s);
#else
    return s;
#endif
#endif
}

// One block of 32 elements of a row of x as codes: d = max / CODE_TOP and CODE_TOP / max.
struct Grid {
    d: f32,
    inverse: f32,
}

#ifdef CODE_TOP
// Blocks whose largest magnitude is below 2^-100 count as zero.
const TINY: f32 = 7.88860905e-31;

fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}

fn grid_of(top: f32) -> Grid {
    if top < TINY {
        return Grid(0.0, 0.0);
    }
    return Grid(top / CODE_TOP, CODE_TOP / top);
}
#endif

#ifndef BROADCAST
// Grid of block `b` of row `m`.
fn block_grid(m: u32, b: u32) -> Grid {
#ifdef CODE_TOP
    var top = 0.0;
    for (var q = 0u; q < 8u; q++) {
        top = max(top, largest(x_quad(m, 8u * b + q)));
    }
    return grid_of(top);
#else
    return Grid();
#endif
}
#endif

// Values as codes on the grid.
fn on_grid(v: vec4<f32>, grid: Grid) -> vec4<f32> {
#ifdef CODE_TOP
    return round(v * grid.inverse);
#else
    return v;
#endif
}

fn times_grid(scale: Scale, grid: Grid) -> Scale {
#ifdef CODE_TOP
    return Scale(scale.d * grid.d, scale.m * grid.d);
#else
    return scale;
#endif
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
#ifdef BROADCAST
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
#endif
) {
    // Column tiles of one row tile are neighbours, so that they find its weights in the cache.
    let tile = group_index(group, groups);
    if tile >= p.row_tiles * p.col_tiles {
        return;
    }
    let first_m = (tile % p.col_tiles) * COLS;
    let quads = (p.n + 3u) / 4u;
    let rq = min((tile / p.col_tiles) * RQ + lane % RQ, quads - 1u);
    let slice = lane / RQ;

    var sums: array<vec4<f32>, COLS>;
    for (var b = slice; b < p.blocks; b += SLICES) {
        let block = load_block(rq, b);
#ifdef PLAIN
        let scale0 = Scale();
        let scale1 = Scale();
#else
        let scale0 = block_scale(rq, b, 0u);
        let scale1 = block_scale(rq, b, 1u);
#endif
        var grids: array<Grid, COLS>;
#ifdef BROADCAST
        // Lanes 0 to 7 hold the block's eight quads of x; all lanes of a subgroup are at the same b.
        var held: array<vec4<f32>, COLS>;
        for (var c = 0u; c < COLS; c++) {
            let v = x_quad(min(first_m + c, p.m - 1u), 8u * b + (subgroup_lane & 7u));
#ifdef CODE_TOP
            grids[c] = grid_of(subgroupMax(largest(v)));
#endif
            held[c] = on_grid(v, grids[c]);
        }
        let w0 = half_block(block, 0u);
        for (var c = 0u; c < COLS; c++) {
            let v = held[c];
            sums[c] = dot_half(
                w0,
                times_grid(scale0, grids[c]),
                subgroupBroadcast(v, 0u),
                subgroupBroadcast(v, 1u),
                subgroupBroadcast(v, 2u),
                subgroupBroadcast(v, 3u),
                sums[c],
            );
        }
        let w1 = half_block(block, 1u);
        for (var c = 0u; c < COLS; c++) {
            let v = held[c];
            sums[c] = dot_half(
                w1,
                times_grid(scale1, grids[c]),
                subgroupBroadcast(v, 4u),
                subgroupBroadcast(v, 5u),
                subgroupBroadcast(v, 6u),
                subgroupBroadcast(v, 7u),
                sums[c],
            );
        }
#else
        for (var c = 0u; c < COLS; c++) {
            grids[c] = block_grid(min(first_m + c, p.m - 1u), b);
        }
        let w0 = half_block(block, 0u);
        for (var c = 0u; c < COLS; c++) {
            let m = min(first_m + c, p.m - 1u);
            let q = 8u * b + 0u;
            let grid = grids[c];
            sums[c] = dot_half(
                w0,
                times_grid(scale0, grid),
                on_grid(x_quad(m, q), grid),
                on_grid(x_quad(m, q + 1u), grid),
                on_grid(x_quad(m, q + 2u), grid),
                on_grid(x_quad(m, q + 3u), grid),
                sums[c],
            );
        }
        let w1 = half_block(block, 1u);
        for (var c = 0u; c < COLS; c++) {
            let m = min(first_m + c, p.m - 1u);
            let q = 8u * b + 4u;
            let grid = grids[c];
            sums[c] = dot_half(
                w1,
                times_grid(scale1, grid),
                on_grid(x_quad(m, q), grid),
                on_grid(x_quad(m, q + 1u), grid),
                on_grid(x_quad(m, q + 2u), grid),
                on_grid(x_quad(m, q + 3u), grid),
                sums[c],
            );
        }
#endif
    }

    for (var c = 0u; c < COLS; c++) {
        var sum = sums[c];
#ifdef SLICED
        slices[lane] = sum;
        workgroupBarrier();
        for (var s = SLICES / 2u; s > 0u; s = s >> 1u) {
            if slice < s {
                slices[lane] = slices[lane] + slices[lane + s * RQ];
            }
            workgroupBarrier();
        }
        sum = slices[lane];
        workgroupBarrier();
#endif
        let m = first_m + c;
        let n = 4u * ((tile / p.col_tiles) * RQ + lane % RQ);
        if slice == 0u && m < p.m && n < p.n {
            for (var i = 0u; i < min(4u, p.n - n); i++) {
                let at = p.y_offset + m * p.y_stride + n + i;
                var value = sum[i];
#ifdef BIAS
                value = value + bias[p.bias_offset + n + i];
#endif
#ifdef ADD
                value = value + y[at];
#endif
                y[at] = value;
            }
        }
    }
}
