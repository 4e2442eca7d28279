// The part of CUDA that our kernels use, on the CPU: a thread of a block is a fiber, a block runs on one
// OS thread at a time. Shared memory is poisoned before every block, so that a value left by the block
// before cannot stand in for a missing barrier; lanes of a shuffle that do not all arrive, and barriers
// that not every thread reaches, end the process with a message.
#pragma once
#define COPPICE_HOST 1

#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("coppice_shared"), aligned(16)))

struct Index {
  unsigned x, y, z;
};

namespace host {

enum class State : uint8_t { Ready, Barrier, Warp, Done };

struct Warp {
  unsigned mask = 0, arrived = 0;
  bool waiting = false;
  // two generations, so that one wait per exchange is enough
  alignas(64) unsigned char slots[2][32][64];
};

struct Fiber {
  void* stack_pointer;
  char* stack;
  Index thread;
  unsigned number, exchanges;
  State state;
  Warp* warp;
};

constexpr size_t STACK = 64 << 10;

inline thread_local Fiber* current;
inline thread_local void* scheduler;
inline thread_local const std::function<void()>* body;
inline thread_local Index block, block_size, grid_size;

extern "C" void coppice_switch(void** save, void* load);
asm(R"(
.text
.weak coppice_switch
.type coppice_switch,@function
coppice_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi); movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size coppice_switch,.-coppice_switch
)");

extern "C" {
extern char __start_coppice_shared[] __attribute__((weak));
extern char __stop_coppice_shared[] __attribute__((weak));
}

[[noreturn]] inline void fail(const char* what) {
  fprintf(stderr, "kernel on the CPU: %s (block %u,%u,%u", what, block.x, block.y, block.z);
  if (current) fprintf(stderr, ", thread %u", current->number);
  fprintf(stderr, ")\n");
  abort();
}

inline void yield(State state) {
  current->state = state;
  coppice_switch(&current->stack_pointer, scheduler);
}

inline void enter() {
  (*body)();
  yield(State::Done);
  fail("a finished thread was resumed");
}

inline void start(Fiber& f) {
  void** top = (void**)(f.stack + STACK);
  *--top = nullptr;
  *--top = (void*)enter;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  f.stack_pointer = top;
  f.state = State::Ready;
  f.exchanges = 0;
}

inline unsigned lane() { return current->number & 31u; }

inline void wait_for(unsigned mask) {
  Warp& w = *current->warp;
  if (!(mask >> lane() & 1u)) fail("a lane is not in its own mask");
  if (w.waiting && w.mask != mask) fail("lanes of a warp wait with different masks");
  w.waiting = true;
  w.mask = mask;
  w.arrived |= 1u << lane();
  yield(State::Warp);
}

// Publishes a value and gives the table of all lanes' values.
template <class T>
inline const unsigned char* exchange(unsigned mask, const T& mine) {
  static_assert(sizeof(T) <= 64);
  auto* slots = current->warp->slots[current->exchanges++ & 1u];
  memcpy(slots[lane()], &mine, sizeof(T));
  wait_for(mask);
  return slots[0];
}

template <class T>
inline T value(const unsigned char* table, unsigned lane) {
  T v;
  memcpy(&v, table + 64u * lane, sizeof(T));
  return v;
}

// Copies that a thread does not wait for: those since its last commit, and the groups before.
struct Copy {
  void* to;
  const void* from;
  unsigned bytes;
};

struct Copies {
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};

inline thread_local std::vector<Copies> copies;

inline void later(void* to, const void* from, unsigned bytes) { copies[current->number].open.push_back({to, from, bytes}); }

inline void later_commit() {
  Copies& mine = copies[current->number];
  mine.groups.push_back(std::move(mine.open));
  mine.open.clear();
}

inline void later_wait(unsigned left) {
  auto& groups = copies[current->number].groups;
  while (groups.size() > left) {
    for (const Copy& c : groups.front()) memcpy(c.to, c.from, c.bytes);
    groups.erase(groups.begin());
  }
}

inline void run_block(std::vector<Fiber>& fibers, std::vector<Warp>& warps, unsigned order) {
  if (__start_coppice_shared) memset(__start_coppice_shared, 0xff, __stop_coppice_shared - __start_coppice_shared);
  for (auto& w : warps) w.waiting = false, w.mask = w.arrived = 0;
  copies.assign(fibers.size(), {});
  for (auto& f : fibers) start(f);
  const unsigned n = fibers.size();
  unsigned done = 0, at_barrier = 0;
  while (done < n) {
    bool progress = false;
    for (unsigned i = 0; i < n; i++) {
      // another order of threads for each block brings races out
      Fiber& f = fibers[(i ^ (order & 31u)) < n ? (i ^ (order & 31u)) : i];
      if (f.state != State::Ready) continue;
      progress = true;
      current = &f;
      coppice_switch(&scheduler, f.stack_pointer);
      if (f.state == State::Done) done++;
      if (f.state == State::Barrier) at_barrier++;
    }
    for (unsigned w = 0; w < warps.size(); w++) {
      if (!warps[w].waiting || warps[w].arrived != warps[w].mask) continue;
      warps[w].waiting = false;
      warps[w].arrived = 0;
      for (unsigned i = 32u * w; i < 32u * w + 32u && i < n; i++)
        if (fibers[i].state == State::Warp) fibers[i].state = State::Ready;
      progress = true;
    }
    if (at_barrier > 0 && at_barrier + done == n) {
      for (auto& f : fibers)
        if (f.state == State::Barrier) f.state = State::Ready;
      at_barrier = 0;
      progress = true;
    }
    if (!progress) {
      current = nullptr;
      fail("threads wait for each other: a barrier or shuffle that not all of them reach");
    }
  }
}

inline void launch(const unsigned grid[3], unsigned threads, const std::function<void()>& kernel) {
  static thread_local std::vector<Fiber> fibers;
  static thread_local std::vector<Warp> warps;
  while (fibers.size() < threads) {
    Fiber f{};
    f.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f.stack == (char*)MAP_FAILED) fail("no memory for a thread's stack");
    fibers.push_back(f);
  }
  std::vector<Fiber> mine(fibers.begin(), fibers.begin() + threads);
  warps.resize((threads + 31u) / 32u);
  for (unsigned i = 0; i < threads; i++) {
    mine[i].number = i;
    mine[i].thread = {i, 0u, 0u};
    mine[i].warp = &warps[i / 32u];
  }
  body = &kernel;
  block_size = {threads, 1u, 1u};
  grid_size = {grid[0], grid[1], grid[2]};
  unsigned order = 0;
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0]; x++) {
        block = {x, y, z};
        run_block(mine, warps, order += 7u);
      }
}

}  // namespace host

#define threadIdx (host::current->thread)
#define blockIdx (host::block)
#define blockDim (host::block_size)
#define gridDim (host::grid_size)

inline void __syncthreads() { host::yield(host::State::Barrier); }
inline void __syncwarp(unsigned mask = ~0u) { host::wait_for(mask); }

template <class T>
inline T __shfl_xor_sync(unsigned mask, T v, int distance) {
  auto table = host::exchange(mask, v);
  return host::value<T>(table, host::lane() ^ (unsigned)distance);
}

inline int __float_as_int(float f) {
  int i;
  memcpy(&i, &f, 4);
  return i;
}

inline float __int_as_float(int i) {
  float f;
  memcpy(&f, &i, 4);
  return f;
}

inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline int __float2int_rn(float a) { return (int)nearbyintf(a); }

template <class T>
inline T min(T a, T b) {
  return a < b ? a : b;
}

template <class T>
inline T max(T a, T b) {
  return a > b ? a : b;
}
