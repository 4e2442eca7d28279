#!/usr/bin/env python3
"""Compares Coppice's speed with llama.cpp's: same file, same threads, rounds interleaved.

Prints one table of medians and the ratios with their limits; exits with 1 if a limit is broken.
README.md defines the measures.
"""

import argparse
import json
import statistics
import subprocess
import sys

import environment


def llama_round(args, gguf: str, gpu: bool) -> dict:
    """One round of llama.cpp: tokens/s of prompt and decode, milliseconds of a step by rows."""
    command = [sys.executable, str(environment.HERE / "llama.py"), "--gguf", gguf, "--threads", str(args.threads)]
    command += ["--prompt", str(args.prompt), "--decode", str(args.decode), "--depth", str(args.depth)]
    command += ["--rows", args.rows] + (["--gpu"] if gpu else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"llama.cpp's round failed ({done.returncode}; -4 is an illegal instruction):\n{done.stderr.strip()}")
    result = json.loads(done.stdout.splitlines()[-1])
    result["verify"] = {int(rows): ms for rows, ms in result["verify"].items()}
    return result


def coppice_round(coppice, args, rows: list[int]) -> dict:
    """One round of Coppice, in the same units."""
    report = coppice.bench(args.prompt, args.decode, args.depth, rows)
    return {
        "prompt": report["prompt"] and report["prompt"]["tokens_per_second"],
        "decode": report["decode"] and report["decode"]["tokens_per_second"],
        "verify": {entry["rows"]: entry["median_ms"] for entry in report["verify"]},
    }


def medians(rounds: list[dict], rows: list[int]) -> dict:
    """Median of each measure over the rounds."""
    result = {
        key: statistics.median(r[key] for r in rounds) if rounds[0][key] is not None else None
        for key in ("prompt", "decode")
    }
    result["verify"] = {count: statistics.median(r["verify"][count] for r in rounds) for count in rows}
    return result


def limits(ours: dict, theirs: dict, software_adapter: bool) -> list[tuple[str, float, str, float, float]]:
    """What is asked, as (name, value, sense, limit, aim), for what was measured."""
    if software_adapter:
        if 1 not in ours["verify"]:
            return []
        return [("decode step, times as fast", theirs["verify"][1] / ours["verify"][1], ">=", 3.0, 3.0)]
    asked = []
    for key, least, aim in (("decode", 1.0, 1.3), ("prompt", 2.0, 3.0)):
        if ours[key] is not None:
            asked.append((f"{key} tokens/s, times llama.cpp", ours[key] / theirs[key], ">=", least, aim))
    verify = ours["verify"]
    for count, most, aim in ((8, 1.6, 1.3), (16, 2.4, 1.8)):
        if count in verify and 1 in verify:
            asked.append((f"t({count})/t(1)", verify[count] / verify[1], "<=", most, aim))
    for count, most in ((16, 0.5), (64, 0.35)):
        if count in verify:
            asked.append((f"t({count}), share of llama.cpp's", verify[count] / theirs["verify"][count], "<=", most, most))
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", metavar="BIN", help="the built binary; without it only llama.cpp is measured")
    parser.add_argument("--model", choices=environment.MODELS, default="smollm2")
    parser.add_argument("--gguf", metavar="FILE", help="use this copy of the model instead of downloading it")
    parser.add_argument("--device", default="cpu", help="cpu (default), or wgpu:N against llama.cpp's Vulkan backend")
    parser.add_argument("--activations", choices=("f32", "q12", "mixed", "q8"), help="default: what Coppice takes by itself")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt; 0 leaves it out")
    parser.add_argument("--decode", type=int, default=128, help="tokens to decode; 0 leaves it out")
    parser.add_argument("--depth", type=int, default=128, help="context before decode and verify steps")
    parser.add_argument("--rows", default="1,2,4,8,16,32,64", help="row counts of the verify curve")
    args = parser.parse_args()
    gpu = args.device.startswith("wgpu")
    if not gpu and args.device != "cpu":
        parser.error(f"--device {args.device}: only cpu and wgpu:N have a peer here")
    rows = [int(count) for count in args.rows.split(",")]
    environment.enter("llama-vulkan" if gpu else "llama")
    from coppice import Coppice

    gguf = environment.model_path(args.model, args.gguf)
    flags = ["--device", args.device, "--threads", str(args.threads)]
    if args.activations:
        flags += ["--activations", args.activations]
    coppice = args.coppice and Coppice(args.coppice, gguf, flags)

    theirs, ours = [], []
    for number in range(args.rounds):
        # Who goes first alternates, so that a drift of the machine favours nobody.
        for side in ((theirs, ours), (ours, theirs))[number % 2]:
            if side is theirs:
                theirs.append(llama_round(args, str(gguf), gpu))
            elif coppice:
                ours.append(coppice_round(coppice, args, rows))
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)

    peer = medians(theirs, rows)
    own = medians(ours, rows) if ours else None
    print(f"{args.model} on {args.device}, {args.threads} threads, context {args.depth}, medians of {args.rounds} rounds\n")
    print("| measure | llama.cpp | Coppice | Coppice / llama.cpp | by round |")
    print("|---|---:|---:|---:|---|")

    def line(name: str, pick) -> None:
        if pick(peer) is None:
            return
        if own is None:
            print(f"| {name} | {pick(peer):.2f} | | | |")
            return
        ratios = [pick(o) / pick(t) for o, t in zip(ours, theirs)]
        print(
            f"| {name} | {pick(peer):.2f} | {pick(own):.2f} | {pick(own) / pick(peer):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} |"
        )

    line(f"prompt of {args.prompt}, tokens/s", lambda m: m["prompt"])
    line(f"decode of {args.decode}, tokens/s", lambda m: m["decode"])
    for count in rows:
        line(f"step of {count} rows, ms", lambda m: m["verify"][count])
    if 1 in rows:
        for count in rows:
            line(f"t({count})/t(1)", lambda m: m["verify"][count] / m["verify"][1])
    if own is None:
        return

    print("\n| asked | measured | limit | aim | |")
    print("|---|---:|---:|---:|---|")
    broken = 0
    for name, value, sense, limit, aim in limits(own, peer, gpu):
        kept = value >= limit if sense == ">=" else value <= limit
        reached = value >= aim if sense == ">=" else value <= aim
        broken += not kept
        verdict = "aim reached" if reached else "kept" if kept else "BROKEN"
        print(f"| {name} | {value:.2f} | {sense} {limit} | {sense} {aim} | {verdict} |")
    print(f"\n{broken} limits broken" if broken else "\nall limits kept")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
