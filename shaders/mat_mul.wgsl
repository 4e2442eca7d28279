// y[m, n] (+)= sum_k a[m, k] b[k, n] (+ bias[n])
//
// a [M, K], b [K, N], y [M, N], bias [N], all f32; an element of a is at m a_row + k a_column, of b at
// k b_row + n b_column, so either may be stored transposed
//
// One workgroup of 256 per tile of 64 x 64: slices of 16 values of k go through workgroup memory, an
// invocation keeps 4 x 4 sums. Every sum runs over k in order.
//
// Elements beyond M, N and K are read as zero and never written; the order must not depend on M or N.
#import shared/grid
struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_offset: u32,
    a_row: u32,
    a_column: u32,
    b_offset: u32,
    b_row: u32,
    b_column: u32,
    y_offset: u32,
    y_stride: u32,
    bias_offset: u32,
}
#import shared/params
const TILE: u32 = 64u;
const SLICE: u32 = 16u;
@group(0) @binding(0) var<storage, A_ACCESS> a: array<f32>;
@group(0) @binding(1) var<storage, B_ACCESS> b: array<f32>;
@group(0) @binding(2) var<storage, Y_ACCESS> y: array<f32>;
#ifdef BIAS
@group(0) @binding(3) var<storage, BIAS_ACCESS> bias: array<f32>;
#endif

// [SLICE][TILE]
var<workgroup> a_slice: array<f32, 1024>;
var<workgroup> b_slice: array<f32, 1024>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles = (p.n + TILE - 1u) / TILE;
    let tile = group_index(group, groups);
    let first_m = tile / tiles * TILE;
    let first_n = tile % tiles * TILE;
    if first_m >= p.m {
        return;
    }
    let own_m = lane / 16u * 4u;
    let own_n = lane % 16u * 4u;
    var sums: array<vec4<f32>, 4>;
    for (var r = 0u; r < 4u; r += 1u) {
        sums[r] = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    }
    for (var first_k = 0u; first_k < p.k; first_k += SLICE) {
        for (var i = lane; i < 1024u; i += 256u) {
            // Neighbouring lanes read neighbours in memory, whichever way a matrix is stored.
            var k = i / TILE;
            var m = i % TILE;
            if p.a_column == 1u {
                k = i % SLICE;
                m = i / SLICE;
            }
            var value = 0.0;
            if first_m + m < p.m && first_k + k < p.k {
                value = a[p.a_offset + (first_m + m) * p.a_row + (first_k + k) * p.a_column];
            }
            a_slice[k * TILE + m] = value;
        }
        for (var i = lane; i < 1024u; i += 256u) {
            var k = i / TILE;
            var n = i % TILE;
            if p.b_row == 1u {
                k = i % SLICE;
                n = i / SLICE;
            }
            var value = 0.0;
            if first_n + n < p.n && first_k + k < p.k {
                value = b[p.b_offset + (first_k + k) * p.b_row + (first_n + n) * p.b_column];
            }
            b_slice[k * TILE + n] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < SLICE; k += 1u) {
            let at = k * TILE + own_n;
            let columns = vec4<f32>(b_slice[at], b_slice[at + 1u], b_slice[at + 2u], b_slice[at + 3u]);
            for (var r = 0u; r < 4u; r += 1u) {
                let row = vec4<f32>(a_slice[k * TILE + own_m + r]);
                sums[r] = fma(row, columns, sums[r]);
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r += 1u) {
        for (var c = 0u; c < 4u; c += 1u) {
            let m = first_m + own_m + r;
            let n = first_n + own_n + c;
            if m < p.m && n < p.n {
                let at = p.y_offset + m * p.y_stride + n;
                var value = sums[r][c];
#ifdef BIAS
                value = value + bias[p.bias_offset + n];
#endif
#ifdef ADD
                value = y[at] + value;
#endif
                y[at] = value;
            }
        }
    }
}
