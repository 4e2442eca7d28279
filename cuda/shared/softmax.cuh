// Merging partial softmaxes of one head: both attention kernels and the merge pass add in this way.
#pragma once

// Positions of a span: a partial result's share of the context, aligned to absolute position.
#define SPAN 256u
// Positions of a chunk: between two changes of the running maximum within a span.
#define CHUNK 64u

// Factors for the sums so far and for those that come, when the maximum rises from `before` to the
// larger of both. Neither sum is empty.
static __device__ __forceinline__ float rise(float before, float after) { return before == after ? 1.0f : expf(before - after); }
