// gate_grad: grad[m, f] = dout[m, f] u gate'(a) and grad[m, F + f] = dout[m, f] gate(a), with
// a = gate_up[m, f] and u = gate_up[m, F + f]. Both gates are a s(y(a)) with s(y) = 1 / (1 + exp(-y)), so
// gate'(a) = s(y) (1 + a s(-y) y'(a)).
//
// gate_up, grad [M, 2F] f32, dout [M, F] f32 (rows strided). Work: a thread per element of dout.
//
// v1.
#include "shared/base.cuh"

extern "C" __global__ void __launch_bounds__(256) gate_grad(const Params p) {
  const u32 f = blockIdx.x * 256u + threadIdx.x;
  if (f >= p.f) return;
  const float* row = p.gate_up + (u64)blockIdx.y * p.gate_up_stride;
  float* grad = p.grad + (u64)blockIdx.y * p.grad_stride;
  const float a = row[f], dout = p.dout[(u64)blockIdx.y * p.dout_stride + f];
#ifdef GELU_TANH
  const float square = 0.044715f * a * a;
  const float y = 1.5957691216057308f * fmaf(square, a, a);
  const float rise = 1.5957691216057308f * fmaf(3.0f, square, 1.0f);
#else
  const float y = a, rise = 1.0f;
#endif
  const float s = __fdiv_rn(1.0f, 1.0f + expf(-y));
  // 1 - s without cancellation
  const float rest = __fdiv_rn(1.0f, 1.0f + expf(y));
  grad[f] = dout * row[p.f + f] * (s * fmaf(a * rest, rise, 1.0f));
  grad[p.f + f] = dout * (a * s);
}
