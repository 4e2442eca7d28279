#!/usr/bin/env python3
"""One round of llama.cpp's speed through its C interface; prints JSON. Called by speed.py."""

import argparse
import ctypes
import json
import statistics
import sys
import time

VERIFY_REPEATS = 5


class Session:
    """A loaded model with one sequence."""

    def __init__(self, gguf: str, threads: int, context: int, gpu: bool):
        import llama_cpp

        self.api = llama_cpp
        # Kept alive: llama.cpp holds the pointer.
        self.silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 999 if gpu else 0
        self.model = llama_cpp.llama_model_load_from_file(gguf.encode(), parameters)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = self.model and llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            sys.exit(f"llama.cpp cannot open {gguf}")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def forget(self, position: int) -> None:
        """Drop the cache from `position` on."""
        self.api.llama_memory_seq_rm(self.memory, 0, position, -1)

    def step(self, count: int, position: int, all_logits: bool) -> float:
        """Evaluate `count` tokens at `position`; returns seconds."""
        batch = self.batch
        batch.n_tokens = count
        for i in range(count):
            batch.token[i] = 1000 + (position + i) * 7919 % 20000
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = all_logits or i + 1 == count
        began = time.perf_counter()
        code = self.api.llama_decode(self.context, batch)
        self.api.llama_synchronize(self.context)
        seconds = time.perf_counter() - began
        if code != 0 or not self.api.llama_get_logits_ith(self.context, count - 1):
            sys.exit(f"llama.cpp: decode of {count} tokens at {position} failed with {code}")
        return seconds

    def fill(self, count: int) -> float:
        """Evaluate a prompt of `count` tokens from nothing; returns seconds."""
        self.forget(0)
        return sum(self.step(min(512, count - at), at, False) for at in range(0, count, 512))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--decode", type=int, required=True)
    parser.add_argument("--depth", type=int, required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--gpu", action="store_true")
    args = parser.parse_args()
    rows = [int(count) for count in args.rows.split(",")]
    context = max(args.prompt, args.depth + max(args.decode, *rows)) + 8
    session = Session(args.gguf, args.threads, context, args.gpu)
    result: dict = {"prompt": None, "decode": None, "verify": {}}
    if args.prompt:
        session.fill(args.prompt)
        result["prompt"] = args.prompt / session.fill(args.prompt)
    session.fill(args.depth)
    if args.decode:
        session.step(1, args.depth, True)
        session.forget(args.depth)
        result["decode"] = args.decode / sum(session.step(1, args.depth + i, True) for i in range(args.decode))
    for count in rows:
        times = []
        for _ in range(1 + VERIFY_REPEATS):
            session.forget(args.depth)
            times.append(session.step(count, args.depth, True))
        result["verify"][count] = 1e3 * statistics.median(times[1:])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
