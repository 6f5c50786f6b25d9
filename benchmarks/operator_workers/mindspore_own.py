"""MindSpore's own operators where it has one, with the arguments of ours.

Many exist for Ascend only; that they fail here is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
from mindspore import Tensor
from mindspore import ops as ms_ops


def gelu(x, approximate):
    return ms_ops.gelu(x, approximate=approximate)


def silu(x):
    return ms_ops.silu(x)


def swiglu(gate, up):
    return ms_ops.swiglu(ms_ops.cat((gate, up), -1), -1)


def softmax(x):
    return ms_ops.softmax(x, -1)


def layer_norm(x, weight, bias, eps):
    return ms_ops.LayerNorm(-1, -1, eps)(x, weight, bias)[0]


def rms_norm(x, weight, eps):
    return ms_ops.rms_norm(x, weight, eps)[0]


def add_layer_norm(x, residual, weight, bias, eps):
    total = x + residual
    return ms_ops.LayerNorm(-1, -1, eps)(total, weight, bias)[0], total


def add_rms_norm(x, residual, weight, eps):
    out = ms_ops.add_rms_norm(x, residual, weight, eps)
    return out[0], out[2]


def linear(x, weight, bias):
    return ms_ops.BiasAdd()(ms_ops.MatMul(transpose_b=True)(x, weight), bias)


def linear_activation(x, weight, bias, activation):
    return ms_ops.gelu(linear(x, weight, bias), approximate="tanh")


def mlp(x, expand, expand_bias, contract, contract_bias, activation):
    hidden = linear_activation(x, expand, expand_bias, activation)
    return linear(hidden, contract, contract_bias)


def matmul(left, right):
    return ms_ops.BatchMatMul()(left, right)


def embedding(indices, table):
    return ms_ops.gather(table, indices, 0)


def cross_entropy(logits, labels, ignore_index, label_smoothing):
    rows = logits.reshape((-1, logits.shape[-1]))
    loss = ms_ops.cross_entropy(
        rows, labels.reshape((-1,)), None, ignore_index, "none", label_smoothing
    )
    return loss.reshape(labels.shape)


def attention(query, key, value, mask, bias, causal, window, scale):
    return ms_ops.flash_attention_score(
        query, key, value, query.shape[1], scalar_value=query.shape[3] ** -0.5, input_layout="BNSD"
    )


def cached_attention(query, key, value, key_cache, value_cache, start, window, scale):
    update = ms_ops.auto_generate.KVCacheScatterUpdate()
    key_cache = update(key_cache, start, key, 2, "update")
    value_cache = update(value_cache, start, value, 2, "update")
    return ms_ops.incre_flash_attention(
        query, [key_cache], [value_cache], None, num_heads=query.shape[1], input_layout="BNSD"
    )


def paged_attention(query, key_cache, value_cache, block_table, length, scale):
    paged = ms_ops.auto_generate.PagedAttention(query.shape[1], 0.1, key_cache.shape[2])
    return paged(
        query.reshape((query.shape[0], 1, -1)), key_cache, value_cache, block_table, length
    )


def compressed_attention(query, key, value, length, stride, scale, start):
    return ms_ops.nsa_compress_attention(
        query, key, value, 0.1, query.shape[1], length, stride, 64, 4
    )


def selected_attention(query, key, value, blocks, block_size, scale):
    return ms_ops.nsa_select_attention(
        query,
        key,
        value,
        blocks,
        0.1,
        query.shape[1],
        block_size,
        blocks.shape[3],
        actual_seq_qlen=(query.shape[2],),
        actual_seq_kvlen=(key.shape[2],),
    )


def rope(x, cos, sin, interleaved):
    wide = ms_ops.cat((cos, cos), -1), ms_ops.cat((sin, sin), -1)
    return ms_ops.rotary_position_embedding(x, wide[0], wide[1])


def triangle_outgoing(left, right):
    return ms_ops.einsum("bikc,bjkc->bijc", left, right)


def triangle_incoming(left, right):
    return ms_ops.einsum("bkic,bkjc->bijc", left, right)


def random_bits(key, stream, count):
    low, high = Tensor(0, ms.int32), Tensor(2**31 - 1, ms.int32)
    return ms_ops.UniformInt()((count,), low, high)


OWN: dict[str, tuple[str, Callable[..., Any]]] = {
    "add_layer_norm": ("ops.LayerNorm of the sum", add_layer_norm),
    "add_rms_norm": ("ops.add_rms_norm", add_rms_norm),
    "attention": ("ops.flash_attention_score", attention),
    "cached_attention": ("KVCacheScatterUpdate, ops.incre_flash_attention", cached_attention),
    "compressed_attention": ("ops.nsa_compress_attention", compressed_attention),
    "cross_entropy": ("ops.cross_entropy", cross_entropy),
    "embedding": ("ops.gather", embedding),
    "gelu": ("ops.gelu", gelu),
    "layer_norm": ("ops.LayerNorm", layer_norm),
    "linear": ("MatMul and BiasAdd", linear),
    "linear_activation": ("MatMul, BiasAdd and ops.gelu", linear_activation),
    "matmul": ("BatchMatMul", matmul),
    "mlp": ("MatMul, BiasAdd and ops.gelu", mlp),
    "paged_attention": ("PagedAttention", paged_attention),
    "random_bits": ("UniformInt", random_bits),
    "rms_norm": ("ops.rms_norm", rms_norm),
    "rope": ("ops.rotary_position_embedding", rope),
    "selected_attention": ("ops.nsa_select_attention", selected_attention),
    "silu": ("ops.silu", silu),
    "softmax": ("ops.softmax", softmax),
    "swiglu": ("ops.swiglu", swiglu),
    "triangle_incoming": ("ops.einsum", triangle_incoming),
    "triangle_outgoing": ("ops.einsum", triangle_outgoing),
}
NONE = {
    "adamw_all": "no operator over several parameters",
    "cached_self_attention": "none of one projection; see cached_attention for its parts",
    "gated": "no fused operator",
    "latent_attention": "no operator in float32",
    "select_blocks": "a second result of ops.nsa_compress_attention, for Ascend only",
    "merge_heads": "Transpose, the plain formulation",
    "split_heads": "Transpose, the plain formulation",
    "split_key_value": "Transpose and Split, the plain formulation",
    "split_query_key_value": "Transpose and Split, the plain formulation",
    "square_sum": "no operator over several tensors",
}
"""Operators for which MindSpore has none of its own, with the reason."""
OTHER_RESULT = {
    "random_bits": "another generator, with a hidden state",
}
"""Own operators that compute something else."""
