"""The Triton kernels on an NVIDIA GPU: against float64 references, and timed against PyTorch.

The kernels are written for Ascend, where nobody has run them; this runs the same files through
upstream Triton, which shows that they are right on a parallel device and where their time goes. It
says nothing about their speed on Ascend. Needs torch and triton, not MindSpore, and takes about
three minutes; a case that fails is written down with its error, and the others go on.

    python benchmarks/triton_gpu.py --output triton_gpu.json
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import statistics
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

FOLDER = Path(__file__).resolve().parents[1] / "shared/src/scimind/ops/kernels/triton"
# Largest error of an entry, relative to the largest entry of the float64 reference. float32: sums
# of thousands of products. Others: probabilities and results rounded to 8 or 11 bits; in gradients
# also their products.
TOLERANCE = {"float32": 2e-5, "bfloat16": 2e-2, "float16": 4e-3}
# (num_warps, num_stages) by kernel for tensor cores, 4 and 2 unless given. Products of float32 are
# not done by tensor cores; pipelining them spills registers.
OPTIONS = {
    "block_scores": (8, 2),
    "compressed_attention_dkey": (8, 2),
    "compressed_attention_dquery": (8, 2),
    "latent_attention": (8, 2),
    "paged_attention": (4, 3),
    "selected_attention": (4, 3),
    "selected_attention_chunk": (8, 2),
    "sum_chunks": (8, 2),
}
FLOAT32 = (8, 1)


def load() -> Any:
    """The package by its path, in place of ``scimind`` itself, which needs MindSpore."""
    name = "scimind.ops.kernels.triton"
    for index in range(1, name.count(".") + 1):
        parent = types.ModuleType(".".join(name.split(".")[:index]))
        parent.__path__ = []
        sys.modules[parent.__name__] = parent
    spec = importlib.util.spec_from_file_location(
        name, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


kernels = load()
arrays = importlib.import_module("scimind.ops.kernels.triton.arrays")


class Torch:
    """PyTorch tensors as an array library of the kernels."""

    views = True

    def __init__(self) -> None:
        self.compiled: dict[str, dict[str, int]] = {}

    def owns(self, value):
        return isinstance(value, torch.Tensor)

    def dtype(self, array):
        return str(array.dtype).removeprefix("torch.")

    def strides(self, array):
        return tuple(array.stride())

    def contiguous(self, array):
        return array.contiguous()

    def empty(self, like, shape, dtype):
        return torch.empty(tuple(shape), dtype=getattr(torch, dtype), device=like.device)

    def arange(self, like, count):
        return torch.arange(count, dtype=torch.int32, device=like.device)

    def integers(self, mask):
        return mask.int()

    def order(self, keys):
        return torch.argsort(keys, stable=True).int()

    def search(self, increasing, values):
        return torch.searchsorted(increasing.contiguous(), values, out_int32=True)

    def processors(self):
        if not torch.cuda.is_available():
            return 4
        return torch.cuda.get_device_properties(0).multi_processor_count

    def start(self, kernel, tasks, arguments, constants):
        name = kernel.fn.__name__
        single = self.dtype(arguments[0]) == "float32"
        warps, stages = FLOAT32 if single else OPTIONS.get(name, (4, 2))
        made = kernel[(tasks,)](*arguments, **constants, num_warps=warps, num_stages=stages)
        if made is not None and hasattr(made, "metadata"):
            self.compiled[f"{name} {self.dtype(arguments[0])}"] = {
                "registers": getattr(made, "n_regs", None),
                "spills": getattr(made, "n_spills", None),
                "shared_bytes": made.metadata.shared,
                **{key: int(value) for key, value in constants.items()},
            }


library = Torch()
arrays.LIBRARIES.append(library)


@dataclass
class Case:
    """One operator at one size.

    Args:
        name: What is run.
        dtype: Of the data.
        sizes: As they are written to the result.
        kernel: Returns tensors; it is timed.
        exact: Returns their float64 references; None leaves the check to another size.
        torch: Compositions that compute the same, by name; the first is the one to beat.
        moved: Bytes that have to be read, for decoding.
        judged: What is compared with ``exact`` instead of the results of ``kernel``.
    """

    name: str
    dtype: str
    sizes: dict[str, int]
    kernel: Callable[[], tuple[torch.Tensor, ...]]
    exact: Callable[[], tuple[torch.Tensor, ...]] | None = None
    torch: dict[str, Callable[[], Any]] = field(default_factory=dict)
    moved: int = 0
    judged: Callable[[], tuple[torch.Tensor, ...]] | None = None


class Data:
    """Random tensors on one device."""

    def __init__(self, device: str, dtype: str) -> None:
        self.device, self.dtype = device, getattr(torch, dtype)
        self.generator = torch.Generator(device).manual_seed(0)

    def normal(self, *shape: int) -> torch.Tensor:
        x = torch.randn(shape, generator=self.generator, device=self.device)
        return x.to(self.dtype)

    def permutation(self, count: int) -> torch.Tensor:
        return torch.randperm(count, generator=self.generator, device=self.device).int()


def expanded(x: torch.Tensor, share: int) -> torch.Tensor:
    """[batch group ...] to [batch head ...], without a copy."""
    shape = x.shape
    x = x[:, :, None].expand(shape[0], shape[1], share, *shape[2:])
    return x.reshape(shape[0], shape[1] * share, *shape[2:])


def attend(query, key, value, seen, scale):
    """Reference in the dtype of its inputs: result, log-sum-exp, probabilities."""
    scores = (query @ key.transpose(-1, -2)) * scale
    scores = scores.masked_fill(~seen, float("-inf"))
    logsumexp = torch.logsumexp(scores, -1)
    probability = torch.exp(scores - logsumexp.nan_to_num(neginf=0.0)[..., None])
    return probability @ value, logsumexp, probability


def slopes(query, key, value, dout, seen, scale):
    """Reference of heads that share a key: result, log-sum-exp and the three gradients."""
    out, logsumexp, p = attend(query, key, value, seen, scale)
    along = dout @ value.transpose(-1, -2)
    dscores = p * (along - (dout * out).sum(-1, keepdim=True)) * scale
    return (
        out,
        logsumexp,
        dscores @ key,
        (dscores.transpose(-1, -2) @ query).sum(1, keepdim=True),
        (p.transpose(-1, -2) @ dout).sum(1, keepdim=True),
    )


def backward(composition, tensors):
    """Calls that compute the gradients of a composition by PyTorch's autograd."""
    state: list[Any] = []

    def run():
        if not state:
            leaves = [x.detach().requires_grad_() for x in tensors]
            out = composition(*leaves)
            state.append((out, leaves, torch.randn_like(out)))
        out, leaves, dout = state[0]
        return torch.autograd.grad(out, leaves, dout, retain_graph=True)

    return run


def paged(data: Data, dtype: str, batch: int, tokens: int, slots: int) -> Case:
    heads, groups, dim = 32, 8, 128
    blocks = tokens // slots
    pages = batch * blocks
    query = data.normal(batch, heads, dim)
    key, value = data.normal(pages, slots, groups, dim), data.normal(pages, slots, groups, dim)
    table = data.permutation(pages).view(batch, blocks)
    # Different lengths, the longest in full.
    length = (tokens - torch.arange(batch, device=data.device) * (tokens // 2 // batch)).int()
    seen = (torch.arange(tokens, device=data.device) < length[:, None])[:, None, None]

    def gathered(cache):
        return cache[table.long()].view(batch, tokens, groups, dim).transpose(1, 2)

    # The heads of a group are the rows of one product, so keys need not be repeated.
    rows = query.view(batch, groups, heads // groups, dim)

    def exact():
        wide = [gathered(x).double() for x in (key, value)]
        return (attend(rows.double(), *wide, seen, dim**-0.5)[0].view(query.shape),)

    def sdpa(keys, values):
        return functional.scaled_dot_product_attention(rows, keys, values, attn_mask=seen)

    ready = [gathered(x).contiguous() for x in (key, value)]
    return Case(
        "paged_attention",
        dtype,
        {"batch": batch, "tokens": tokens, "slots": slots, "heads": heads, "groups": groups},
        lambda: (kernels.paged_attention(query, key, value, table, length),),
        exact,
        {
            "gather + sdpa": lambda: sdpa(gathered(key), gathered(value)),
            "sdpa of contiguous keys": lambda: sdpa(*ready),
        },
        int(length.sum()) * groups * 2 * dim * key.element_size(),
    )


def latent(data: Data, dtype: str, batch: int, tokens: int, heads: int, queries: int) -> Case:
    rank, rope, slots = 512, 64, 64
    scale = (128 + rope) ** -0.5
    blocks = tokens // slots
    query, turned = (data.normal(batch, heads, queries, size) for size in (rank, rope))
    cache, ropes = (data.normal(batch * blocks, slots, size) for size in (rank, rope))
    table = data.permutation(batch * blocks).view(batch, blocks)
    length = (tokens - torch.arange(batch, device=data.device) * (tokens // 2 // batch)).int()
    last = length[:, None] - queries + torch.arange(queries, device=data.device)
    seen = torch.arange(tokens, device=data.device) <= last[..., None]
    # All heads are the rows of one product, so the cache need not be repeated.
    seen = seen[:, None].expand(batch, heads, queries, tokens).reshape(batch, 1, -1, tokens)

    def gathered(x):
        return x[table.long()].view(batch, 1, tokens, x.shape[-1])

    def composition(kind, attention):
        value = gathered(cache).to(kind)
        key = torch.cat((value, gathered(ropes).to(kind)), -1)
        rows = torch.cat((query, turned), -1).view(batch, 1, heads * queries, rank + rope)
        return attention(rows.to(kind), key, value).view(query.shape)

    def exact():
        return (composition(torch.float64, lambda *tensors: attend(*tensors, seen, scale)[0]),)

    def sdpa(q, k, v):
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)

    return Case(
        "latent_attention",
        dtype,
        {"batch": batch, "tokens": tokens, "heads": heads, "query": queries, "rank": rank},
        lambda: (kernels.latent_attention(query, turned, cache, ropes, table, length, scale),),
        exact,
        {"gather + sdpa": lambda: composition(data.dtype, sdpa)},
        int(length.sum()) * (rank + rope) * cache.element_size(),
    )


LENGTH, STRIDE, BLOCK, COUNT, GROUPS, SHARE = 32, 16, 64, 16, 4, 16


def sparse_sizes(tokens: int, dim: int, width: int) -> dict[str, int]:
    return {"tokens": tokens, "heads": GROUPS * SHARE, "groups": GROUPS, "dim": dim, "width": width}


def compress(data: Data, dtype: str, tokens: int, weighted: bool) -> Case:
    x = data.normal(1, GROUPS, tokens, 128)
    weight = data.normal(GROUPS, LENGTH) if weighted else None

    def composition(x, weight):
        parts = x.unfold(2, LENGTH, STRIDE)
        if weight is None:
            return parts.mean(-1)
        return torch.einsum("bgidt,gt->bgid", parts, weight)

    wide = None if weight is None else weight.double()
    return Case(
        f"compress_blocks ({'weights' if weighted else 'mean'})",
        dtype,
        sparse_sizes(tokens, 128, 128),
        lambda: (kernels.compress_blocks(x, weight, LENGTH, STRIDE),),
        lambda: (composition(x.double(), wide),),
        {"unfold": lambda: composition(x, weight)},
        x.numel() * x.element_size(),
    )


def coarse(data: Data, dtype: str, tokens: int, dim: int = 128, width: int = 128) -> Iterator[Case]:
    """The compressed branch: attention, scores of blocks, selection."""
    blocks = (tokens - LENGTH) // STRIDE + 1
    query = data.normal(1, GROUPS * SHARE, tokens, dim)
    key, value = data.normal(1, GROUPS, blocks, dim), data.normal(1, GROUPS, blocks, width)
    scale = dim**-0.5
    ends = torch.arange(blocks, device=data.device) * STRIDE + LENGTH - 1
    seen = ends <= torch.arange(tokens, device=data.device)[:, None]
    sizes = sparse_sizes(tokens, dim, width)
    checked = tokens <= 8192

    def of_group(group, kind):
        heads = slice(group * SHARE, (group + 1) * SHARE)
        return (
            query[:, heads].to(kind),
            key[:, group : group + 1].to(kind),
            value[:, group : group + 1].to(kind),
        )

    def by_group(kind):
        for group in range(GROUPS):
            yield attend(*of_group(group, kind), seen, scale)

    def exact():
        parts = [(out, logsumexp) for out, logsumexp, _ in by_group(torch.float64)]
        return tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))

    wide = [expanded(x, SHARE) for x in (key, value)]

    def sdpa():
        return functional.scaled_dot_product_attention(query, *wide, attn_mask=seen)

    yield Case(
        "compressed_attention",
        dtype,
        sizes,
        lambda: kernels.compressed_attention(query, key, value, LENGTH, STRIDE),
        exact if checked else None,
        {"sdpa with mask": sdpa},
    )
    out, logsumexp = kernels.compressed_attention(query, key, value, LENGTH, STRIDE)
    dout = data.normal(1, GROUPS * SHARE, tokens, width)

    def exact_slopes():
        parts = []
        for group in range(GROUPS):
            q, k, v = of_group(group, torch.float64)
            do = dout[:, group * SHARE : (group + 1) * SHARE].double()
            parts.append(slopes(q, k, v, do, seen, scale)[2:])
        return tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))

    yield Case(
        "compressed_attention_grad",
        dtype,
        sizes,
        lambda: kernels.compressed_attention_grad(
            query, key, value, out, logsumexp, dout, LENGTH, STRIDE
        ),
        exact_slopes if checked else None,
        {
            "sdpa with mask": backward(
                lambda q, k, v: functional.scaled_dot_product_attention(
                    q, expanded(k, SHARE), expanded(v, SHARE), attn_mask=seen
                ),
                (query, key, value),
            )
        },
    )
    selections = -(-tokens // BLOCK)
    first = torch.arange(selections, device=data.device) * (BLOCK // STRIDE)
    block = torch.arange(blocks, device=data.device)[:, None]
    right = torch.minimum(block + LENGTH // STRIDE, first + BLOCK // STRIDE)
    overlap = (right - torch.maximum(block, first)).clamp(min=0)

    def scores(kind):
        parts = [p.sum(1, keepdim=True) @ overlap.to(kind) for _, _, p in by_group(kind)]
        return torch.cat(parts, 1)

    current = torch.arange(tokens, device=data.device)[:, None] // BLOCK
    index = torch.arange(selections, device=data.device)
    forced = (index < 1) | (index > current - 2)

    def chosen(score):
        score = score.masked_fill(forced, float("inf")).masked_fill(index > current, float("-inf"))
        best, place = score.topk(min(COUNT, selections), -1)
        place = torch.where(best == float("-inf"), selections, place).sort(-1)[0]
        return torch.where(place == selections, -1, place).int()

    yield Case(
        "block_scores",
        dtype,
        sizes,
        lambda: (kernels.block_scores(query, key, logsumexp, LENGTH, STRIDE, BLOCK),),
        (lambda: (scores(torch.float64),)) if checked else None,
        {"probabilities @ overlap": lambda: scores(data.dtype)} if checked else {},
    )
    selected = (LENGTH, STRIDE, BLOCK, min(COUNT, selections))

    def worth(blocks, score):
        """What the blocks chosen by score are worth (rounding may exchange equal ones); forced."""
        place = blocks.clamp(min=0).long()
        always = (forced & (index <= current)).expand(score.shape).gather(-1, place) & (blocks >= 0)
        free = torch.where((blocks < 0) | always, 0.0, score.gather(-1, place))
        return free.sum(-1), always.sum(-1).double()

    yield Case(
        "select_blocks",
        dtype,
        sizes,
        lambda: (kernels.select_blocks(query, key, *selected, logsumexp=logsumexp),),
        (lambda: worth(chosen(scores(torch.float64)), scores(torch.float64))) if checked else None,
        {"probabilities @ overlap, topk": lambda: chosen(scores(data.dtype))} if checked else {},
        judged=lambda: worth(
            kernels.select_blocks(query, key, *selected, logsumexp=logsumexp), scores(torch.float64)
        ),
    )


def fine(data: Data, dtype: str, tokens: int, dim: int = 128, width: int = 128) -> Iterator[Case]:
    """The selected branch, forward and backward, on random blocks as NSA would choose them."""
    query = data.normal(1, GROUPS * SHARE, tokens, dim)
    key, value = data.normal(1, GROUPS, tokens, dim), data.normal(1, GROUPS, tokens, width)
    selections = -(-tokens // BLOCK)
    current = torch.arange(tokens, device=data.device)[:, None] // BLOCK
    index = torch.arange(selections, device=data.device)
    noise = torch.rand(
        (1, GROUPS, tokens, selections), generator=data.generator, device=data.device
    )
    noise = noise.masked_fill((index < 1) | (index > current - 2), 2.0)
    best, place = noise.masked_fill(index > current, -1.0).topk(min(COUNT, selections), -1)
    blocks = torch.where(best < 0, -1, place).int()
    del noise, best, place
    scale = dim**-0.5
    sizes = sparse_sizes(tokens, dim, width)
    checked = tokens <= 4096
    position = torch.arange(tokens, device=data.device)
    dout = data.normal(1, GROUPS * SHARE, tokens, width)

    def exact_all():
        parts = []
        for group in range(GROUPS):
            named = torch.zeros((tokens, selections + 1), dtype=torch.bool, device=data.device)
            named.scatter_(1, blocks[0, group].long() % (selections + 1), True)
            seen = named[:, position // BLOCK] & (position <= position[:, None])
            heads = slice(group * SHARE, (group + 1) * SHARE)
            q, do = query[:, heads].double(), dout[:, heads].double()
            k, v = key[:, group : group + 1].double(), value[:, group : group + 1].double()
            parts.append(slopes(q, k, v, do, seen, scale))
        return tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))

    kept: list[Any] = []

    def exact():
        if not kept:
            kept.append(exact_all())
        return kept[0]

    # Each query with its own copy of the keys: [group * token, 1, share, dim] and so on.
    def gathered(q, k, v):
        offset = torch.arange(BLOCK, device=data.device)
        token = (blocks[..., None].long() * BLOCK + offset).view(1, GROUPS, tokens, -1)
        seen = (blocks[..., None] >= 0).expand(*blocks.shape, BLOCK).reshape(token.shape)
        seen = seen & (token <= position[:, None])
        place = token.clamp(0, tokens - 1).view(GROUPS, -1)
        group = torch.arange(GROUPS, device=data.device)[:, None]
        keys, values = (
            x[0][group, place].view(GROUPS * tokens, 1, -1, x.shape[-1]) for x in (k, v)
        )
        rows = q.view(GROUPS, SHARE, tokens, dim).transpose(1, 2).reshape(-1, 1, SHARE, dim)
        mask = seen.view(GROUPS * tokens, 1, 1, -1)
        return functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask)

    def dense(q, k, v):
        attention = functional.scaled_dot_product_attention
        try:
            return attention(q, k, v, is_causal=True, enable_gqa=True)
        except TypeError:  # before torch 2.5
            return attention(q, expanded(k, SHARE), expanded(v, SHARE), is_causal=True)

    compositions = {"dense causal sdpa": dense}
    if checked:
        compositions = {"gather + sdpa": gathered, **compositions}

    yield Case(
        "selected_attention",
        dtype,
        sizes,
        lambda: kernels.selected_attention(query, key, value, blocks, BLOCK),
        (lambda: exact()[:2]) if checked else None,
        {
            name: (lambda composition=composition: composition(query, key, value))
            for name, composition in compositions.items()
        },
    )
    out, logsumexp = kernels.selected_attention(query, key, value, blocks, BLOCK)
    yield Case(
        "selected_attention_grad",
        dtype,
        sizes,
        lambda: kernels.selected_attention_grad(
            query, key, value, blocks, out, logsumexp, dout, BLOCK
        ),
        (lambda: exact()[2:]) if checked else None,
        {
            name: backward(composition, (query, key, value))
            for name, composition in compositions.items()
        },
    )


def cases(device: str, small: bool) -> Iterator[Callable[[], Iterator[Case]]]:
    """Makers of cases, the most important first; each makes its data when it is called."""

    def one(make, dtype, *sizes):
        def made():
            yield make(Data(device, dtype), dtype, *sizes)

        return made

    def several(make, dtype, *sizes):
        return lambda: make(Data(device, dtype), dtype, *sizes)

    if small:
        yield one(paged, "float32", 2, 128, 16)
        yield one(latent, "float32", 2, 128, 2, 2)
        yield one(compress, "float32", 128, True)
        yield several(coarse, "float32", 192)
        yield several(fine, "float32", 192)
        return
    for dtype in ("bfloat16", "float32"):
        yield one(paged, dtype, 8, 8192, 64)
        yield one(latent, dtype, 8, 8192, 16, 1)
        yield several(fine, dtype, 4096)
        yield several(coarse, dtype, 4096)
        yield one(compress, dtype, 65536, True)
    for batch, tokens, slots in ((1, 32768, 64), (64, 4096, 16)):
        yield one(paged, "bfloat16", batch, tokens, slots)
    for batch, tokens, heads, queries in ((1, 32768, 128, 1), (32, 4096, 16, 2)):
        yield one(latent, "bfloat16", batch, tokens, heads, queries)
    yield several(fine, "bfloat16", 32768)
    yield several(coarse, "bfloat16", 32768)
    yield several(fine, "bfloat16", 2048, 192, 128)
    yield several(coarse, "bfloat16", 2048, 192, 128)
    yield several(coarse, "bfloat16", 8192)
    yield one(compress, "bfloat16", 65536, False)
    yield one(paged, "float16", 8, 8192, 64)
    yield several(fine, "float16", 2048)


def milliseconds(call: Callable[[], Any], device: str, seconds: float) -> dict[str, float]:
    """Median and smallest time of a call, by CUDA events, after three calls to warm up."""
    for _ in range(3 if device == "cuda" else 1):
        call()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - started < seconds and len(times) < 50):
        if device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            before = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - before))
    return {"median": statistics.median(times), "min": min(times), "calls": len(times)}


def errors(case: Case) -> dict[str, Any]:
    """Errors of the results relative to the largest entries of the references."""
    found = []
    for got, expected in zip((case.judged or case.kernel)(), case.exact(), strict=True):
        got, finite = got.double(), torch.isfinite(expected)
        if got.shape != expected.shape or not torch.equal(finite, torch.isfinite(got)):
            return {"ok": False, "error": f"{tuple(got.shape)}, or other entries are infinite"}
        got, expected = got[finite], expected[finite]
        size = max(expected.abs().max().item(), 1e-6)
        found.append(
            {
                "largest": (got - expected).abs().max().item() / size,
                "rms": (got - expected).square().mean().sqrt().item() / size,
            }
        )
    limit = TOLERANCE[case.dtype]
    return {"results": found, "tolerance": limit, "ok": all(x["largest"] < limit for x in found)}


def measure(case: Case, device: str, seconds: float) -> dict[str, Any]:
    """One row of the result: errors and times, each with its error if it fails."""
    row: dict[str, Any] = {"case": case.name, "dtype": case.dtype, "sizes": case.sizes}

    def attempt(key, call):
        try:
            return call()
        except Exception as error:  # the other measurements go on
            row.setdefault("errors", {})[key] = {
                "text": f"{type(error).__name__}: {error}"[:2000],
                "where": traceback.format_exc()[-1500:],
            }
            return None
        finally:
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()

    if case.exact is not None:
        row["check"] = attempt("check", lambda: errors(case))
    ours = attempt("kernel", lambda: milliseconds(case.kernel, device, seconds))
    row["ms"] = {"kernel": ours}
    for name in list(case.torch):
        call = case.torch.pop(name)  # with the memory that it holds
        row["ms"][name] = attempt(name, lambda call=call: milliseconds(call, device, seconds))
        del call
    if ours:
        row["speedup"] = {
            name: round(times["median"] / ours["median"], 3)
            for name, times in row["ms"].items()
            if name != "kernel" and times
        }
        if case.moved:
            row["gigabytes_per_s"] = round(case.moved / ours["median"] / 1e6, 1)
    return row


def environment(device: str) -> dict[str, Any]:
    import triton

    found = {"torch": torch.__version__, "triton": triton.__version__, "device": device}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "processors": properties.multi_processor_count,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return found


def main() -> int:
    global GROUPS, SHARE
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=225.0, help="no new case after this")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device; --device cpu --small needs TRITON_INTERPRET=1")
    if options.small:
        GROUPS, SHARE = 2, 2
    torch.backends.cuda.matmul.allow_tf32 = False
    started = time.perf_counter()
    report: dict[str, Any] = {"environment": environment(options.device), "rows": []}

    def write():
        report["seconds"] = round(time.perf_counter() - started, 1)
        report["compiled"] = library.compiled
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")

    for make in cases(options.device, options.small):
        if time.perf_counter() - started > options.seconds:
            report["skipped"] = report.get("skipped", 0) + 1
            continue
        try:
            for case in make():
                row = measure(case, options.device, 0.3)
                report["rows"].append(row)
                check = row.get("check") or {}
                largest = [f"{x['largest']:.1e}" for x in check.get("results", ())]
                print(
                    f"{time.perf_counter() - started:6.1f} s {case.name} {case.dtype} "
                    f"{case.sizes} {'ok' if check.get('ok') else check.get('ok')} {largest} "
                    f"{(row['ms']['kernel'] or {}).get('median')} ms, {row.get('speedup')} "
                    f"{[e['text'][:200] for e in row.get('errors', {}).values()]}",
                    flush=True,
                )
                write()
        except Exception as error:  # making the data failed
            report["rows"].append({"error": f"{type(error).__name__}: {error}"[:2000]})
            print(traceback.format_exc(), flush=True)
            write()
        gc.collect()
        if options.device == "cuda":
            torch.cuda.empty_cache()
    write()
    bad = [row for row in report["rows"] if "error" in row or "errors" in row]
    wrong = [row for row in report["rows"] if not (row.get("check") or {"ok": True})["ok"]]
    print(f"{len(report['rows'])} cases, {len(bad)} with errors, {len(wrong)} beyond tolerance")
    return 1 if bad or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
