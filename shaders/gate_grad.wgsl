// grad[m, f] = dout[m, f] u gate'(v) and grad[m, F + f] = dout[m, f] gate(v)
//   with v = gate_up[m, f], u = gate_up[m, F + f]; both gates are v s(y(v)) with s(y) = 1 / (1 + exp(-y)):
//   silu       y = v
//   gelu_tanh  y = 2 sqrt(2/pi) (v + 0.044715 v^3)
//   gate'(v) = s(y) (1 + v s(-y) y'(v))
//
// gate_up, grad [M, 2F] f32  dout [M, F] f32, all with row strides
//
// One invocation per element of dout.
//
// Each element depends on its own three inputs only.
#import shared/grid
#import shared/math
struct Params {
    m: u32,
    f: u32,
    gate_up_offset: u32,
    gate_up_stride: u32,
    dout_offset: u32,
    dout_stride: u32,
    grad_offset: u32,
    grad_stride: u32,
}
#import shared/params
override WG: u32 = 64;
@group(0) @binding(0) var<storage, GATE_UP_ACCESS> gate_up: array<f32>;
@group(0) @binding(1) var<storage, DOUT_ACCESS> dout: array<f32>;
@group(0) @binding(2) var<storage, GRAD_ACCESS> grad: array<f32>;

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
    let d = dout[p.dout_offset + m * p.dout_stride + f];
#ifdef GELU
    let square = 0.044715 * v * v;
    let y = 1.5957691216 * fma(square, v, v);
    let rise = 1.5957691216 * fma(3.0, square, 1.0);
#else
    let y = v;
    let rise = 1.0;
#endif
    let s = 1.0 / (1.0 + exp_f32(-y));
    let rest = 1.0 / (1.0 + exp_f32(y));
    let to = p.grad_offset + m * p.grad_stride + f;
    grad[to] = d * up * (s * fma(v * rest, rise, 1.0));
    grad[to + p.f] = d * (v * s);
}
