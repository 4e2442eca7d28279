"""A Llama of random weights in PyTorch: the figures of `coppice bench suite`, as one line of JSON.

The shape comes as JSON in the first argument. On a GPU in f16 and steps as CUDA graphs, else in f32.
"""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

shape = json.loads(sys.argv[1])
cuda = torch.cuda.is_available()
device = torch.device("cuda" if cuda else "cpu")
dtype = torch.float16 if cuda else torch.float32
D, H, G, FF = shape["width"], shape["heads"], shape["kv_heads"], shape["feed_forward"]
d, depth, prompt = D // H, shape["depth"], shape["prompt"]
torch.manual_seed(1)


def matrix(n: int, k: int) -> torch.Tensor:
    return torch.randn(n, k, device=device, dtype=dtype) / k**0.5


layers = [
    {
        "qkv": matrix((H + 2 * G) * d, D),
        "out": matrix(D, H * d),
        "gate_up": matrix(2 * FF, D),
        "down": matrix(D, FF),
        "norm": torch.ones(D, device=device, dtype=dtype),
        "cache": torch.randn(2, 1, G, depth, d, device=device, dtype=dtype),
    }
    for _ in range(shape["layers"])
]
table, head = matrix(shape["vocab"], D), matrix(shape["vocab"], D)
angles = torch.outer(
    torch.arange(depth + prompt + 64, device=device), 10000.0 ** (-torch.arange(0, d, 2, device=device) / d)
)
cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: torch.Tensor, start: int, same: bool) -> torch.Tensor:
    """Pairs of x [1, heads, rows, d] turned for positions from `start`, or all for that one."""
    rows = x.shape[2]
    at = slice(start, start + 1) if same else slice(start, start + rows)
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack((even * cos[at] - odd * sin[at], even * sin[at] + odd * cos[at]), -1).flatten(-2)


def forward(ids: torch.Tensor, past: int) -> torch.Tensor:
    """A prompt (past 0), or sibling nodes behind a cache; logits of the last row, or of every node."""
    x = table[ids]
    rows = len(ids)
    # a node sees the cache and itself
    mask = torch.cat((torch.ones(rows, past, device=device), torch.eye(rows, device=device)), 1).bool() if past else None
    for w in layers:
        y = F.rms_norm(x, (D,), w["norm"])
        q, k, v = (y @ w["qkv"].T).view(rows, H + 2 * G, d).transpose(0, 1).unsqueeze(0).split((H, G, G), 1)
        q, k = rotate(q, past, past > 0), rotate(k, past, past > 0)
        if past:
            k, v = torch.cat((w["cache"][0], k), 2), torch.cat((w["cache"][1], v), 2)
        if G != H:
            k, v = k.repeat_interleave(H // G, 1), v.repeat_interleave(H // G, 1)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + o[0].transpose(0, 1).reshape(rows, H * d) @ w["out"].T
        gate, up = (F.rms_norm(x, (D,), w["norm"]) @ w["gate_up"].T).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ w["down"].T
    return (x if past else x[-1:]) @ head.T


def wait() -> None:
    if cuda:
        torch.cuda.synchronize()


def milliseconds(run, repeat: int) -> float:
    """Median over repetitions, after two that warm up."""
    times = []
    for i in range(repeat + 2):
        wait()
        started = time.perf_counter()
        run()
        wait()
        if i >= 2:
            times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def step(rows: int):
    """A step of `rows` nodes, as a graph where there are graphs."""
    ids = torch.arange(rows, device=device) * 7 % shape["vocab"]
    if not cuda:
        return lambda: forward(ids, depth)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        forward(ids, depth)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        forward(ids, depth)
    return graph.replay


with torch.inference_mode():
    source = torch.empty((256 if cuda else 32) << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_ms = min(milliseconds(lambda: target.copy_(source), 1) for _ in range(5))
    n = 8192 if cuda else 1024
    a, b = matrix(n, n), matrix(n, n)
    matmul_ms = min(milliseconds(lambda: a @ b, 1) for _ in range(5))
    few, many, one = (milliseconds(step(rows), 4 * shape["repeat"]) for rows in (16, 64, 1))
    ids = torch.arange(prompt, device=device) * 31 % shape["vocab"]
    prompt_ms = milliseconds(lambda: forward(ids, 0), shape["repeat"])

matrices = [w[name] for w in layers for name in ("qkv", "out", "gate_up", "down")]
read = sum(m.nbytes for m in matrices) + head.nbytes + sum(w["cache"].nbytes for w in layers)
pairs = prompt * (prompt + 1) // 2
flops = 2 * prompt * sum(m.numel() for m in matrices) + 4 * pairs * H * d * len(layers) + 2 * head.numel()
print(
    json.dumps(
        {
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "version": f"PyTorch {torch.__version__}",
            "shape": shape["shape"],
            "dtype": str(dtype).removeprefix("torch."),
            "copy_gb_s": 2 * source.nbytes / copy_ms / 1e6,
            "matmul_gflops": 2 * n**3 / matmul_ms / 1e6,
            "decode_ms": one,
            "decode_gb_s": read / one / 1e6,
            "few": few / one,
            "many": many / one,
            "prompt": prompt,
            "prompt_ms": prompt_ms,
            "prompt_gflops": flops / prompt_ms / 1e6,
        }
    )
)
