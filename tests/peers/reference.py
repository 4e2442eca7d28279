#!/usr/bin/env python3
"""Writes the float32 reference of a model: what transformers answers with the weights of a GGUF file.

For every prompt of `prompts.json`: its token ids, the greedy continuation with the gap between the
two best logits at each step, and the log-probabilities at the prompt's last position. Then the
perplexity of the first tokens of a public-domain article. README.md defines the measures.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import environment

STEPS = 64
TOP = 40
PERPLEXITY_TOKENS = 8192
PERPLEXITY_WINDOWS = (512, 1024)
SCHEMA = 1


def folder(name: str) -> Path:
    """Where the reference of model `name` lies."""
    return environment.cache_dir() / "reference" / name


def prompts(name: str) -> list[dict]:
    """The prompts for model `name`: `name`, `chat` (through the template, or raw), `text`."""
    return json.loads((environment.HERE / "prompts.json").read_text(encoding="utf-8"))[name]


def apply_template(template: str, text: str) -> str:
    """One user message through a chat template, with the answer's opening."""
    import jinja2.sandbox

    # The options under which transformers renders templates.
    jinja = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "user", "content": text}]
    return jinja.from_string(template).render(messages=messages, add_generation_prompt=True)


def greedy(model, ids: list[int], steps: int):
    """Log-probabilities after `ids`, then `steps` greedy tokens and, for each, the runner-up and the
    distance of the two logits."""
    import torch

    out = model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    first = torch.log_softmax(out.logits[0, -1].double(), -1)
    chosen, second, gaps = [], [], []
    for step in range(steps):
        best = out.logits[0, -1].topk(2)
        chosen.append(int(best.indices[0]))
        second.append(int(best.indices[1]))
        gaps.append(float(best.values[0] - best.values[1]))
        if step + 1 < steps:
            out = model(torch.tensor([chosen[-1:]]), past_key_values=out.past_key_values, use_cache=True)
    return first, chosen, second, gaps


def perplexity(model, ids: list[int], bos: int | None, window: int) -> dict:
    """exp(mean negative log-likelihood) over non-overlapping windows, each from an empty context;
    every position of a window but its first is scored."""
    import torch

    stride = window - (bos is not None)
    nll, count = 0.0, 0
    for start in range(0, len(ids), stride):
        row = ([] if bos is None else [bos]) + ids[start : start + stride]
        if len(row) < 2:
            break
        logits = model(torch.tensor([row]), use_cache=False).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(row[1:]), reduction="none")
        nll += float(losses.double().sum())
        count += len(losses)
    return {"window": window, "tokens": count, "nll": nll / count, "perplexity": float(torch.tensor(nll / count).exp())}


def write(name: str, gguf_file: Path, threads: int) -> Path:
    """Compute the reference of model `name` and write it; returns the path of the JSON."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import numpy
    import torch
    import transformers

    import gguf_tokenizers

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    transformers.utils.logging.disable_progress_bar()
    tokenizer = gguf_tokenizers.load(gguf_file)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    target = folder(name)
    target.mkdir(parents=True, exist_ok=True)

    rows = []
    for prompt in prompts(name):
        began = time.monotonic()
        text = prompt["text"]
        if prompt["chat"]:
            text = apply_template(tokenizer.chat_template, text)
        ids = tokenizer.encode(text)
        logprobs, chosen, second, gaps = greedy(model, ids, STEPS)
        top = logprobs.topk(TOP)
        numpy.save(target / f"{prompt['name']}.npy", logprobs.float().numpy())
        rows.append(
            {
                **prompt,
                "prompt_ids": ids,
                "greedy_ids": chosen,
                "second_ids": second,
                "gaps": gaps,
                "greedy_text": tokenizer.decode(chosen),
                "top_ids": top.indices.tolist(),
                "top_logprobs": top.values.tolist(),
            }
        )
        print(
            f"{prompt['name']:<24} {len(ids):>4} ids  smallest gap {min(gaps):.2e}  {time.monotonic() - began:.1f} s",
            file=sys.stderr,
        )

    ids = tokenizer.encode(environment.article())
    ids = ids[tokenizer.bos is not None :][:PERPLEXITY_TOKENS]
    text = tokenizer.decode(ids)
    if tokenizer.encode(text)[tokenizer.bos is not None :] != ids:
        sys.exit("the cut article does not tokenise to the ids it was cut from; change PERPLEXITY_TOKENS")
    (target / "perplexity.txt").write_text(text, encoding="utf-8", newline="")
    measured = []
    for window in PERPLEXITY_WINDOWS:
        measured.append(perplexity(model, ids, tokenizer.bos, window))
        print(f"perplexity {measured[-1]}", file=sys.stderr)

    result = {
        "schema": SCHEMA,
        "model": name,
        "sha256": environment.MODELS[name].sha256,
        "software": {"torch": torch.__version__, "transformers": transformers.__version__},
        "prompts": rows,
        "perplexity_ids": ids,
        "perplexity": measured,
    }
    path = target / "reference.json"
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return path


def load(name: str, gguf_file: Path, threads: int) -> dict:
    """The reference of model `name`, computed if it is missing or belongs to other prompts."""
    path = folder(name) / "reference.json"
    if path.exists():
        result = json.loads(path.read_text(encoding="utf-8"))
        own = [{key: row[key] for key in ("name", "chat", "text")} for row in result["prompts"]]
        if result["schema"] == SCHEMA and own == prompts(name):
            return result
    return json.loads(write(name, gguf_file, threads).read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=environment.MODELS, default="smollm2")
    parser.add_argument("--gguf", metavar="FILE", help="use this copy of the model instead of downloading it")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    environment.enter("reference")
    print(write(args.model, environment.model_path(args.model, args.gguf), args.threads))


if __name__ == "__main__":
    main()
