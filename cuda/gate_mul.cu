// gate_mul: out[m, f] = gate(gate_up[m, f]) * gate_up[m, F + f].
//
// gate_up [M, 2F] f32, out [M, F] f32 (rows strided).
// Work: a thread per element.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) gate_mul(const Params p) {
  const u32 f = blockIdx.x * 256u + threadIdx.x;
  if (f >= p.f) return;
  const float* row = p.gate_up + (u64)blockIdx.y * p.gate_up_stride;
  const float g = row[f];
#ifdef GELU_TANH
  // tanh(u) = 1 - 2 / (1 + exp(2u)), exact at both ends
  const float u = 0.7978845608028654f * fmaf(0.044715f * g * g, g, g);
  const float gate = g * (1.0f - __fdiv_rn(1.0f, 1.0f + expf(2.0f * u)));
#else
  const float gate = __fdiv_rn(g, 1.0f + expf(-g));
#endif
  p.out[(u64)blockIdx.y * p.out_stride + f] = gate * row[p.f + f];
}
