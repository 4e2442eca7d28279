"""Calls the built `coppice` binary; one process a question, JSON back."""

import json
import os
import subprocess
import sys
from pathlib import Path


class Coppice:
    """A binary, a model file and the flags of every call."""

    def __init__(self, binary: str, gguf: Path, flags: list[str]):
        self.binary = str(Path(binary).resolve())
        self.gguf = str(gguf)
        self.flags = flags
        # Variables of the shell must not change what is compared.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("COPPICE_")}

    def _json(self, verb: str, *arguments: str, device: bool = True) -> dict:
        command = [self.binary, verb, "--model", self.gguf, "--offline", "--quiet", *arguments]
        command += self.flags if device else []
        done = subprocess.run(command, capture_output=True, env=self.environment)
        if done.returncode != 0:
            shown = " ".join(command)
            message = done.stderr.decode("utf-8", "replace").strip()
            sys.exit(f"{shown[:300]}: exit code {done.returncode}\n{message}")
        return json.loads(done.stdout)

    def run(self, text: str, chat: bool, tokens: int) -> dict:
        """Greedy continuation of a prompt (`prompt_ids`, `output_ids`)."""
        raw = [] if chat else ["--raw"]
        return self._json("run", f"--prompt={text}", *raw, "--json", "-n", str(tokens), "--temp", "0", "--ignore-eos", "--spec", "plain")

    def answer(self, question: str, tokens: int, plain: bool) -> dict:
        """Greedy answer to a question (`prompt_ids`, `output_ids`, `timings`), by default settings or plainly."""
        method = ["--spec", "plain"] if plain else []
        return self._json("run", f"--prompt={question}", "--json", "-n", str(tokens), "--temp", "0", *method)

    def tokenize(self, file: Path) -> list[int]:
        """Ids of a text file."""
        return self._json("tokenize", "--file", str(file), "--json", device=False)["ids"]

    def logprobs(self, ids: list[int], top: int) -> dict[int, float]:
        """The `top` best log-probabilities after `ids`, by id."""
        joined = ",".join(map(str, ids))
        answer = self._json("logits", "--ids", joined, "--top", str(top), "--json")
        return {entry["id"]: entry["logprob"] for entry in answer["top"]}

    def perplexity(self, file: Path, window: int) -> dict:
        """`perplexity` and `scored` of a text in windows of so many tokens."""
        return self._json("perplexity", "--file", str(file), "--ctx", str(window), "--json")

    def bench(self, prompt: int, decode: int, depth: int, rows: list[int]) -> dict:
        """Medians of five prompt, decode and verify times each, after a warm-up."""
        joined = ",".join(map(str, rows))
        counts = ["-p", str(prompt), "-n", str(decode), "--depth", str(depth), "--rows", joined]
        return self._json("bench", *counts, "--repeat", "5", "--output", "json")
