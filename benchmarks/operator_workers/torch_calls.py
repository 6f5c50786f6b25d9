"""The calls in PyTorch, eager, as one writes them.

A function has the name and the arguments of an operator. It prepares what does not change from
call to call and returns the call, or several formulations of it of which the fastest counts.
"""

from __future__ import annotations

import torch
from torch.nn import functional

MOST_GATHERED = 1 << 28  # elements


def gelu(x, approximate):
    return lambda: functional.gelu(x, approximate=approximate)


def silu(x):
    return lambda: functional.silu(x)


def swiglu(gate, up):
    return lambda: functional.silu(gate) * up


def gated(x, gate, mask):
    def call():
        return x * torch.sigmoid(gate) * mask

    def filled():
        return (x * torch.sigmoid(gate)).masked_fill(closed, 0.0)

    closed = ~mask
    return {"product": call, "masked_fill": filled}


def _apart(x, counts):
    """Tensors of heads in memory of their own, as our operators give them."""
    heads = x.unflatten(-1, (sum(counts), -1)).transpose(1, 2)
    return tuple(part.contiguous() for part in heads.split(counts, 1))


def split_heads(x, heads, dim):
    return lambda: _apart(x, [heads])[0]


def split_key_value(x, groups, dim):
    return lambda: _apart(x, [groups, groups])


def split_query_key_value(x, heads, groups, dim):
    return lambda: _apart(x, [heads, groups, groups])


def merge_heads(x):
    return lambda: x.transpose(1, 2).flatten(2)


def softmax(x):
    return lambda: functional.softmax(x, -1)


def layer_norm(x, weight, bias, eps):
    return lambda: functional.layer_norm(x, weight.shape, weight, bias, eps)


def rms_norm(x, weight, eps):
    return lambda: functional.rms_norm(x, weight.shape, weight, eps)


def add_layer_norm(x, residual, weight, bias, eps):
    def call():
        total = x + residual
        return functional.layer_norm(total, weight.shape, weight, bias, eps), total

    return call


def add_rms_norm(x, residual, weight, eps):
    def call():
        total = x + residual
        return functional.rms_norm(total, weight.shape, weight, eps), total

    return call


def linear(x, weight, bias):
    return lambda: functional.linear(x, weight, bias)


def linear_activation(x, weight, bias, activation):
    return lambda: functional.gelu(functional.linear(x, weight, bias), approximate="tanh")


def mlp(x, expand, expand_bias, contract, contract_bias, activation):
    def call():
        hidden = functional.gelu(functional.linear(x, expand, expand_bias), approximate="tanh")
        return functional.linear(hidden, contract, contract_bias)

    return call


def matmul(left, right):
    return lambda: torch.matmul(left, right)


def embedding(indices, table):
    return lambda: functional.embedding(indices, table)


def cross_entropy(logits, labels, ignore_index, label_smoothing):
    labels = labels.long()

    def call():
        loss = functional.cross_entropy(
            logits.flatten(0, -2),
            labels.flatten(),
            ignore_index=ignore_index,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return loss.view(labels.shape)

    return call


def attention(query, key, value, mask, bias, causal, window, scale):
    grouped = query.shape[1] != key.shape[1]
    return lambda: functional.scaled_dot_product_attention(
        query, key, value, bias, is_causal=causal, scale=scale, enable_gqa=grouped
    )


def _lists(length):
    """What a generation loop knows without asking the tensor."""
    return [int(count) for count in length]


def cached_attention(query, key, value, key_cache, value_cache, start, window, scale):
    batch, heads, queries, dim = query.shape
    groups = key_cache.shape[1]
    length = start + queries
    longest, lengths = int(length.max()), _lists(length)
    position = start[:, None, None, None] + torch.arange(queries)[:, None]
    mask = torch.arange(longest) <= position
    rows = query.reshape(batch, groups, heads // groups * queries, dim)
    mask_rows = mask.repeat(1, 1, heads // groups, 1)
    seen_keys, seen_values = key_cache[:, :, :longest], value_cache[:, :, :longest]

    def at_once():
        out = functional.scaled_dot_product_attention(rows, seen_keys, seen_values, mask_rows)
        return out.view(query.shape)

    def product():
        logits = (rows @ seen_keys.transpose(-1, -2)) * dim**-0.5
        weights = logits.masked_fill(~mask_rows, float("-inf")).softmax(-1)
        return (weights @ seen_values).view(query.shape)

    def each():
        outs = []
        for index, count in enumerate(lengths):
            seen = None if queries == 1 else mask_rows[index, ..., :count]
            outs.append(
                functional.scaled_dot_product_attention(
                    rows[index], key_cache[index, :, :count], value_cache[index, :, :count], seen
                )
            )
        return torch.stack(outs).view(query.shape)

    updates = {"index_put": _put(start, queries), "slices": _slices(start, queries)}

    def both(update, attend):
        def call():
            update(key_cache, key)
            update(value_cache, value)
            return attend()

        return call

    attends = {"all rows": at_once, "products": product, "row by row": each}
    return {
        f"{first}, {second}": both(update, attend)
        for first, update in updates.items()
        for second, attend in attends.items()
    }


def cached_self_attention(x, key_cache, value_cache, start, share, window, scale):
    groups = key_cache.shape[1]
    rows = _apart(x, [share * groups, groups, groups])  # given to PyTorch
    calls = cached_attention(*rows, key_cache, value_cache, start, window, scale)
    return {
        name: lambda call=call: call().transpose(1, 2).flatten(2) for name, call in calls.items()
    }


def _put(start, count):
    row = torch.arange(len(start))[:, None]
    position = start.long()[:, None] + torch.arange(count)

    def update(cache, rows):
        cache[row, :, position] = rows.transpose(1, 2)

    return update


def _slices(start, count):
    starts = _lists(start)

    def update(cache, rows):
        for index, first in enumerate(starts):
            cache[index, :, first : first + count] = rows[index]

    return update


def paged_attention(query, key_cache, value_cache, block_table, length, scale):
    batch, heads, dim = query.shape
    slot, groups = key_cache.shape[1:3]
    lengths, table = _lists(length), block_table.long()
    tokens = table.shape[1] * slot
    mask = (torch.arange(tokens) < length[:, None])[:, None, None]
    rows = query.view(batch, groups, heads // groups, dim)

    def at_once():
        key = key_cache[table].flatten(1, 2).transpose(1, 2)
        value = value_cache[table].flatten(1, 2).transpose(1, 2)
        out = functional.scaled_dot_product_attention(rows, key, value, mask)
        return out.view(batch, heads, -1)

    def each():
        outs = []
        for index, count in enumerate(lengths):
            pages = table[index, : -(-count // slot)]
            key = key_cache[pages].flatten(0, 1)[:count].transpose(0, 1)
            value = value_cache[pages].flatten(0, 1)[:count].transpose(0, 1)
            outs.append(functional.scaled_dot_product_attention(rows[index], key, value))
        return torch.stack(outs).view(batch, heads, -1)

    return {"all sequences": at_once, "sequence by sequence": each}


def latent_attention(query, query_rope, latent_cache, rope_cache, block_table, length, scale):
    slot = latent_cache.shape[1]
    lengths, table = _lists(length), block_table.long()
    tokens = table.shape[1] * slot
    mask = (torch.arange(tokens) < length[:, None])[:, None]
    if query.shape[2] != 1:
        raise NotImplementedError("written for one query of each sequence")

    def at_once():
        latent = latent_cache[table].flatten(1, 2)
        logits = query[:, :, 0] @ latent.transpose(-1, -2)
        logits = logits + query_rope[:, :, 0] @ rope_cache[table].flatten(1, 2).transpose(-1, -2)
        weights = (logits * scale).masked_fill(~mask, float("-inf")).softmax(-1)
        return (weights @ latent)[:, :, None]

    def each():
        outs = []
        for index, count in enumerate(lengths):
            pages = table[index, : -(-count // slot)]
            latent = latent_cache[pages].flatten(0, 1)[:count]
            rope = rope_cache[pages].flatten(0, 1)[:count]
            logits = (query[index, :, 0] @ latent.T).addmm_(query_rope[index, :, 0], rope.T)
            outs.append(logits.mul_(scale).softmax(-1) @ latent)
        return torch.stack(outs)[:, :, None]

    return {"all sequences": at_once, "sequence by sequence": each}


def _ended(queries, blocks, length, stride, start):
    end = torch.arange(blocks) * stride + length - 1
    return end <= torch.arange(queries)[:, None] + start


def compressed_attention(query, key, value, length, stride, scale, start):
    mask = _ended(query.shape[2], key.shape[2], length, stride, start)
    some = mask.any(-1, keepdim=True)
    safe = mask | ~some  # without a block SDPA may give NaN; the rows are zeroed below
    grouped = query.shape[1] != key.shape[1]

    def call():
        out = functional.scaled_dot_product_attention(query, key, value, safe, enable_gqa=grouped)
        return out * some

    return call


def select_blocks(query, key, length, stride, block_size, count, scale, start):
    batch, _, queries, dim = query.shape
    groups, blocks = key.shape[1:3]
    available = (start + queries - 1) // block_size + 1
    ended = _ended(queries, blocks, length, stride, start)
    closed = ~ended
    own = (torch.arange(queries)[:, None] + start) // block_size
    number = torch.arange(available)
    forced = torch.zeros(queries, available)
    forced[number == own - 1] = 1e9
    forced[(number == 0).expand_as(forced)] = 2e9
    forced[number == own] = 3e9
    future = number > own
    rows = query.reshape(batch, groups, -1, dim)
    covered, strides = -(-length // stride), -(-available * block_size // stride)
    if block_size % stride:
        raise NotImplementedError("written for blocks of whole strides")

    def call():
        logits = (rows @ key.transpose(-1, -2)).mul_(dim**-0.5)
        logits = logits.view(batch, groups, -1, queries, blocks).masked_fill_(closed, -1e30)
        probability = logits.softmax(-1).masked_fill_(closed, 0.0).sum(2)
        padded = functional.pad(probability, (covered - 1, max(strides - blocks, 0)))
        share = padded.unfold(-1, covered, 1).sum(-1)[..., :strides]
        score = share.view(*share.shape[:-1], available, -1).sum(-1)
        score = torch.maximum(score, forced).masked_fill_(future, -2.0)
        best, chosen = score.topk(min(count, available), -1)
        chosen = chosen.masked_fill_(best <= -2.0, available).sort(-1)[0].int()
        return chosen.masked_fill_(chosen == available, -1)

    return call


def selected_attention(query, key, value, blocks, block_size, scale):
    batch, heads, queries, dim = query.shape
    groups, keys, width = key.shape[1], key.shape[2], value.shape[3]
    share, count = heads // groups, blocks.shape[3]
    position, last = torch.arange(keys), torch.arange(queries) + keys - queries
    past = position <= last[:, None]
    chosen = blocks.long()

    def masked():
        number = -(-keys // block_size)
        listed = torch.zeros(batch, groups, queries, number + 1, dtype=torch.bool)
        listed.scatter_(-1, chosen.masked_fill(chosen < 0, number), True)
        mask = listed[..., :number].repeat_interleave(block_size, -1)[..., :keys] & past
        mask = mask.repeat_interleave(share, 1)
        return functional.scaled_dot_product_attention(
            query, key, value, mask, enable_gqa=groups != heads
        )

    def gathered():
        at = chosen[..., None] * block_size + torch.arange(block_size)
        at = at.flatten(-2)
        seen = (at >= 0) & (at <= last[:, None])
        flat = at.clamp(min=0).flatten(1)
        rows = query.view(batch, groups, share, queries, dim).transpose(2, 3)

        def pick(table):
            size = table.shape[-1]
            index = flat.view(batch, groups, -1, 1).expand(-1, -1, -1, size)
            return table.gather(2, index).view(batch, groups, queries, -1, size)

        out = functional.scaled_dot_product_attention(
            rows, pick(key), pick(value), seen[..., None, :]
        )
        return out.transpose(2, 3).reshape(batch, heads, queries, width)

    if batch * groups * queries * count * block_size * dim > MOST_GATHERED:
        return {"mask": masked}
    return {"mask": masked, "gather": gathered}


def rope(x, cos, sin, interleaved):
    if interleaved:
        raise NotImplementedError("written for halves")
    wide_cos, wide_sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)

    def rotate_half():
        first, second = x.chunk(2, -1)
        return x * wide_cos + torch.cat((-second, first), -1) * wide_sin

    def halves():
        first, second = x.chunk(2, -1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

    return {"rotate_half": rotate_half, "halves": halves}


def triangle_outgoing(left, right):
    return lambda: torch.einsum("bikc,bjkc->bijc", left, right)


def triangle_incoming(left, right):
    return lambda: torch.einsum("bkic,bkjc->bijc", left, right)


def random_bits(key, stream, count):
    return lambda: torch.randint(-(2**31), 2**31, (count,), dtype=torch.int32)


def square_sum(x):
    def norms():
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(x))).square()[None]

    return norms


def _fused(parameter, first, second, gradient, scale, beta1, beta2, eps, decay):
    """The update of all parameters in one call, as `torch.optim.AdamW(fused=True)` makes it."""
    steps = [torch.tensor(10.0) for _ in parameter]

    def call():
        torch._fused_adamw_(
            parameter,
            gradient,
            first,
            second,
            [],
            steps,
            lr=1e-3,
            beta1=beta1,
            beta2=beta2,
            weight_decay=decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
            grad_scale=scale,
        )

    return call


def adamw_all(
    parameter, first, second, gradient, learning_rate, factor, correction1, correction2, **options
):
    update = _fused(parameter, first, second, gradient, None, **options)

    def clipped():
        torch._foreach_mul_(gradient, factor[0])  # as clip_grad_norm_ does
        update()

    scaled = _fused(parameter, first, second, gradient, 1.0 / factor[0], **options)
    return {"foreach_mul and fused": clipped, "fused with grad_scale": scaled}


TOGETHER = ("adamw_all", "square_sum")
"""Functions that get the tensors of all calls of a run, in lists."""
NOTES = {"random_bits": "torch.randint: another generator, with a hidden state"}
"""Where the nearest that PyTorch has computes something else."""
