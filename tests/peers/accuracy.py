#!/usr/bin/env python3
"""Compares Coppice with transformers in float32 on the same GGUF file.

Prints one table and exits with 1 if a limit is broken. README.md defines the measures.
"""

import argparse
import sys

import environment

GAP = 1e-3  # a greedy step may differ where the reference's two best logits are closer than this
LOGPROB = 2e-3  # float32 paths: largest difference of a log-probability at the last position
KL_EACH, KL_MEAN = 5e-3, 3e-3  # coded activations: KL(reference || ours) at the last position
PERPLEXITY = 6e-3  # relative difference of perplexity
WINDOW = 512


def compare_greedy(reference: dict, ours: list[int]) -> tuple[int, bool]:
    """Length of the common prefix, and whether the first difference (if any) is a tie: a step whose
    two best reference logits are closer than GAP, where we took the second."""
    expected = reference["greedy_ids"]
    for step, (want, got) in enumerate(zip(expected, ours)):
        if want != got:
            return step, reference["gaps"][step] < GAP and got == reference["second_ids"][step]
    return min(len(expected), len(ours)), len(expected) == len(ours)


def compare_logprobs(reference, ours: dict[int, float]) -> tuple[float, float]:
    """Largest difference over the vocabulary and KL(reference || ours), in nats."""
    import numpy

    want = reference.astype(numpy.float64)
    got = numpy.array([ours.get(i, -numpy.inf) for i in range(len(want))])
    kl = float(numpy.sum(numpy.exp(want) * (want - got)))
    return float(numpy.abs(want - got).max()), kl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", metavar="BIN", required=True, help="the built binary")
    parser.add_argument("--model", choices=environment.MODELS, default="smollm2")
    parser.add_argument("--gguf", metavar="FILE", help="use this copy of the model instead of downloading it")
    parser.add_argument("--device", default="cpu", help="reference, cpu (default) or wgpu:N")
    parser.add_argument(
        "--activations", choices=("f32", "q12", "mixed", "q8"), help="default: mixed on cpu, f32 elsewhere"
    )
    parser.add_argument("--kv", help="cache format (default: f32 with f32 activations, else f16)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", metavar="TEXT", help="only prompts whose name contains this")
    parser.add_argument("--skip-perplexity", action="store_true")
    args = parser.parse_args()
    environment.enter("reference")
    import numpy

    import reference as references
    from coppice import Coppice

    activations = args.activations or ("mixed" if args.device == "cpu" else "f32")
    exact = activations == "f32"
    kv = args.kv or ("f32" if exact else "f16")
    gguf = environment.model_path(args.model, args.gguf)
    reference = references.load(args.model, gguf, args.threads)
    flags = ["--device", args.device, "--activations", activations, "--kv", kv, "--threads", str(args.threads)]
    coppice = Coppice(args.coppice, gguf, flags)
    folder = references.folder(args.model)

    broken: list[str] = []
    kls: list[float] = []
    worsts: list[float] = []
    print(f"{args.model} on {args.device}, activations {activations}, cache {kv}; reference: transformers, float32\n")
    print("| prompt | ids | same ids | greedy equal | max abs logprob difference | KL |")
    print("|---|---:|---|---|---:|---:|")
    for row in reference["prompts"]:
        name = row["name"]
        if args.only and args.only not in name:
            continue
        answer = coppice.run(row["text"], row["chat"], len(row["greedy_ids"]))
        same_ids = answer["prompt_ids"] == row["prompt_ids"]
        if not same_ids:
            broken.append(f"{name}: prompt ids differ")
        prefix, good = compare_greedy(row, answer["output_ids"])
        if exact and not good:
            gap = f"{row['gaps'][prefix]:.2e}" if prefix < len(row["gaps"]) else "none"
            broken.append(f"{name}: greedy ids differ at step {prefix}, reference gap {gap}")
        want = numpy.load(folder / f"{name}.npy")
        worst, kl = compare_logprobs(want, coppice.logprobs(row["prompt_ids"], len(want)))
        kls.append(kl)
        worsts.append(worst)
        if exact and not worst <= LOGPROB:
            broken.append(f"{name}: log-probabilities differ by {worst:.2e} (limit {LOGPROB:.0e})")
        if not exact and not kl <= KL_EACH:
            broken.append(f"{name}: KL {kl:.2e} (limit {KL_EACH:.0e})")
        count = len(row["greedy_ids"])
        greedy = f"{prefix}/{count}" + (", then a tie" if good and prefix < count else "")
        print(f"| {name} | {len(row['prompt_ids'])} | {'yes' if same_ids else 'NO'} | {greedy} | {worst:.2e} | {kl:.2e} |", flush=True)
    if not kls:
        sys.exit(f"no prompt's name contains `{args.only}`")
    mean = sum(kls) / len(kls)
    print(f"\nKL: mean {mean:.2e}, max {max(kls):.2e}; log-probabilities within {max(worsts):.2e}; {len(kls)} prompts")
    if not exact and not mean <= KL_MEAN:
        broken.append(f"mean KL {mean:.2e} (limit {KL_MEAN:.0e})")

    if not args.skip_perplexity:
        text = folder / "perplexity.txt"
        ids = coppice.tokenize(text)
        if ids[-len(reference["perplexity_ids"]) :] != reference["perplexity_ids"]:
            broken.append("the article's token ids differ")
        (want,) = (m for m in reference["perplexity"] if m["window"] == WINDOW)
        got = coppice.perplexity(text, WINDOW)
        ratio = got["perplexity"] / want["perplexity"]
        print(
            f"perplexity in windows of {WINDOW}: {got['perplexity']:.4f} over {got['scored']} tokens, "
            f"reference {want['perplexity']:.4f} over {want['tokens']}: {100 * (ratio - 1):+.3f} %"
        )
        if got["scored"] != want["tokens"]:
            broken.append(f"perplexity scored {got['scored']} tokens, the reference {want['tokens']}")
        if not abs(ratio - 1) <= PERPLEXITY:
            broken.append(f"perplexity differs by {100 * (ratio - 1):+.3f} % (limit {100 * PERPLEXITY:.1f} %)")

    for line in broken:
        print(f"BROKEN {line}")
    print(f"\n{len(broken)} limits broken" if broken else "\nall limits kept")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
