// out[m, f] = gate(gate_up[m, f]) * gate_up[m, F + f]
//   silu       gate(v) = v / (1 + exp(-v))
//   gelu_tanh  gate(v) = v/2 (1 + tanh(u)) = v / (1 + exp(-2u)), u = sqrt(2/pi) (v + 0.044715 v^3)
//
// gate_up [M, 2F] f32  out [M, F] f32, both with row strides
//
// One invocation per element of out.
//
// Each element depends on its own two inputs only.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    f: u32,
    gate_up_offset: u32,
    gate_up_stride: u32,
    out_offset: u32,
    out_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, GATE_UP_ACCESS> gate_up: array<f32>;
@group(0) @binding(1) var<storage, OUT_ACCESS> out: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.m * p.f {
        return;
    }
    let m = i / p.f;
    let f = i % p.f;
    let at = p.gate_up_offset + m * p.gate_up_stride + f;
    let v = gate_up[at];
    let up = gate_up[at + p.f];
#ifdef GELU
    let u = 0.7978845608 * fma(0.044715 * v * v, v, v);
    let gated = v / (1.0 + exp_f32(-2.0 * u));
#else
    let gated = v / (1.0 + exp_f32(-v));
#endif
    out[p.out_offset + m * p.out_stride + f] = gated * up;
}
