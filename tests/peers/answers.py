#!/usr/bin/env python3
"""Compares the time of whole answers with llama.cpp's plain decoding: same file, questions and threads.

Questions are of Spec-Bench's form (`question_id`, `category`, `turns`), first turns only. Each is answered
greedily by llama.cpp, by Coppice plainly and by Coppice's default settings, one after the other; who goes first
rotates. Prints tokens/s by category, of prompt and answer together, and their ratios; loading is not counted.
"""

import argparse
import json
import sys
import time
from collections import defaultdict

import environment

SIDES = ("llama.cpp", "plain", "default")


class Peer:
    """llama.cpp with one sequence, decoding greedily."""

    def __init__(self, gguf: str, threads: int, context: int):
        import numpy
        from llama import Session

        self.numpy = numpy
        self.session = Session(gguf, threads, context, False)
        self.api = self.session.api
        self.vocabulary = self.api.llama_model_get_vocab(self.session.model)
        self.size = self.api.llama_vocab_n_tokens(self.vocabulary)

    def _feed(self, ids: list[int], position: int) -> int:
        batch = self.session.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i + 1 == len(ids)
        if self.api.llama_decode(self.session.context, batch) != 0:
            sys.exit(f"llama.cpp: decode of {len(ids)} tokens at {position} failed")
        logits = self.api.llama_get_logits_ith(self.session.context, len(ids) - 1)
        return int(self.numpy.ctypeslib.as_array(logits, shape=(self.size,)).argmax())

    def answer(self, prompt: list[int], tokens: int) -> tuple[int, float]:
        """Tokens of the answer and seconds of prompt and answer."""
        self.session.forget(0)
        began = time.perf_counter()
        for at in range(0, len(prompt), 512):
            following = self._feed(prompt[at : at + 512], at)
        count = 1
        while count < tokens and not self.api.llama_vocab_is_eog(self.vocabulary, following):
            following = self._feed([following], len(prompt) + count - 1)
            count += 1
        return count, time.perf_counter() - began


def questions(file: str, per_category: int) -> list[dict]:
    """The first questions of each category, in the file's order."""
    taken: dict[str, int] = defaultdict(int)
    chosen = []
    with open(file, encoding="utf-8") as lines:
        for question in map(json.loads, filter(str.strip, lines)):
            if taken[question["category"]] < per_category:
                taken[question["category"]] += 1
                chosen.append(question)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", metavar="BIN", required=True, help="the built binary")
    parser.add_argument("--questions", metavar="FILE", required=True, help="JSON lines in Spec-Bench's form")
    parser.add_argument("--per-category", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of an answer")
    parser.add_argument("--gguf", metavar="FILE", help="use this copy of the model instead of downloading it")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    environment.enter("llama")
    from coppice import Coppice

    gguf = environment.model_path("smollm2", args.gguf)
    coppice = Coppice(args.coppice, gguf, ["--device", "cpu", "--threads", str(args.threads)])
    peer = Peer(str(gguf), args.threads, 8192)

    # [category][side] = [tokens, seconds]
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: {side: [0, 0.0] for side in SIDES})
    rounds = [0, 0]
    chosen = questions(args.questions, args.per_category)
    coppice.answer("Hello", 8, plain=False)
    for number, question in enumerate(chosen):
        text = question["turns"][0]
        prompt = coppice.answer(text, 1, plain=True)["prompt_ids"]
        for side in SIDES[number % 3 :] + SIDES[: number % 3]:
            if side == "llama.cpp":
                count, seconds = peer.answer(prompt, args.tokens)
            else:
                timings = coppice.answer(text, args.tokens, plain=side == "plain")["timings"]
                count = timings["predicted_n"]
                seconds = (timings["prompt_ms"] + timings["predicted_ms"]) / 1e3
                if side == "default":
                    rounds[0] += count
                    rounds[1] += timings["rounds_n"]
            for category in (question["category"], "overall"):
                total = sums[category][side]
                total[0] += count
                total[1] += seconds
        print(f"{number + 1} of {len(chosen)}", file=sys.stderr)

    print(f"{len(chosen)} questions, at most {args.tokens} tokens, {args.threads} threads\n")
    print("| category | llama.cpp, tokens/s | Coppice plain | Coppice default | default / plain | default / llama.cpp |")
    print("|---|---:|---:|---:|---:|---:|")
    for category, by_side in sorted(sums.items(), key=lambda entry: entry[0] == "overall"):
        theirs, plain, default = (by_side[side][0] / by_side[side][1] for side in SIDES)
        print(
            f"| {category} | {theirs:.1f} | {plain:.1f} | {default:.1f} | {default / plain:.2f} | {default / theirs:.2f} |"
        )
    print(f"\n{rounds[0]} tokens in {rounds[1]} rounds by default settings")


if __name__ == "__main__":
    main()
