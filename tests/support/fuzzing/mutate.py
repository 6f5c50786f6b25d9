"""Seeded damage to files: what transfers, editors, scripts and attackers do to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Edit = Callable[[bytes, np.random.Generator], bytes]

_HUGE = (b"1e308", b"1e400", b"-1e400", b"9" * 40, b"-" + b"9" * 25, b"9" * 5000, b"2147483648")
_ODD = (b"nan", b"NaN", b"inf", b"-inf", b"1_000", b"0x10", b"1e-400", b"--5", b"+-", b".", b"?",
        "١٢٣".encode(), "１２".encode(), "²".encode(), b"''", b'"', b"")  # fmt: skip
_NOT_UTF8 = (b"\xff", b"\xfe\xff", b"\xc3(", b"\xed\xa0\x80", b"\x80")
_STRANGE = ("\u2028", "\u0085", "\ufeff", "\u00a0", "\u200b", "\x0b", "\x0c", "\x1c", "é", "分子")
_OPENERS = (b"(", b"[", b"{", b"- ", b"[[", b'"', b"'", b";", b"\n;", b"data_", b"loop_\n", b">")


def _position(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(0, len(data) + 1))


def _span(data: bytes, rng: np.random.Generator, longest: int) -> tuple[int, int]:
    start = _position(data, rng)
    return start, min(len(data), start + int(rng.integers(1, longest + 1)))


def _line_range(lines: list[bytes], rng: np.random.Generator, longest: int) -> tuple[int, int]:
    start = int(rng.integers(0, max(len(lines), 1)))
    return start, min(len(lines), start + int(rng.integers(1, longest + 1)))


def delete_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng, 64)
    return data[:start] + data[stop:]


def duplicate_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng, 200)
    return data[:stop] + data[start:stop] * int(rng.integers(1, 4)) + data[stop:]


def flip_bit(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        damaged[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(damaged)


def replace_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng, 8)
    return (
        data[:start] + rng.integers(32, 127, stop - start).astype(np.uint8).tobytes() + data[stop:]
    )


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _position(data, rng)]


def truncate_front(data: bytes, rng: np.random.Generator) -> bytes:
    return data[_position(data, rng) :]


def delete_lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    start, stop = _line_range(lines, rng, 5)
    return b"".join(lines[:start] + lines[stop:])


def duplicate_lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    start, stop = _line_range(lines, rng, 20)
    return b"".join(lines[:stop] + lines[start:stop] + lines[stop:])


def swap_lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    i, j = (int(k) for k in rng.integers(0, len(lines), 2))
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def join_lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        index = int(rng.integers(0, len(lines)))
        lines[index] = lines[index].rstrip(b"\r\n")
    return b"".join(lines)


def _edit_token(
    data: bytes, rng: np.random.Generator, edit: Callable[[list[bytes], int], None]
) -> bytes:
    """Applies ``edit`` to the tokens of one line; blanks stay as they are elsewhere."""
    lines = data.split(b"\n")
    filled = [index for index, line in enumerate(lines) if line.split()]
    if not filled:
        return data
    index = filled[int(rng.integers(0, len(filled)))]
    separator = b"," if lines[index].count(b",") > lines[index].count(b" ") else b" "
    tokens = lines[index].split(separator)
    real = [k for k, token in enumerate(tokens) if token]
    if real:
        edit(tokens, real[int(rng.integers(0, len(real)))])
    lines[index] = separator.join(tokens)
    return b"\n".join(lines)


def _set_token(choices: tuple[bytes, ...], data: bytes, rng: np.random.Generator) -> bytes:
    value = choices[int(rng.integers(0, len(choices)))]

    def put(tokens: list[bytes], k: int) -> None:
        tokens[k] = value

    return _edit_token(data, rng, put)


def huge_number(data: bytes, rng: np.random.Generator) -> bytes:
    return _set_token(_HUGE, data, rng)


def odd_number(data: bytes, rng: np.random.Generator) -> bytes:
    return _set_token(_ODD, data, rng)


def delete_token(data: bytes, rng: np.random.Generator) -> bytes:
    return _edit_token(data, rng, lambda tokens, k: tokens.__delitem__(k))


def duplicate_token(data: bytes, rng: np.random.Generator) -> bytes:
    return _edit_token(data, rng, lambda tokens, k: tokens.insert(k, tokens[k]))


def swap_tokens(data: bytes, rng: np.random.Generator) -> bytes:
    def swap(tokens: list[bytes], k: int) -> None:
        other = int(rng.integers(0, len(tokens)))
        tokens[k], tokens[other] = tokens[other], tokens[k]

    return _edit_token(data, rng, swap)


def overwrite_in_place(data: bytes, rng: np.random.Generator) -> bytes:
    """A value of the same width, so that fixed columns stay in place."""
    start, stop = _span(data, rng, 8)
    values = (b"********", b"nannannan", b"        ", b"99999999", b"-9999.99", b"1e9 1e99")
    value = values[int(rng.integers(0, len(values)))][: stop - start]
    return data[:start] + value + data[start + len(value) :]


def _insert(value: bytes, data: bytes, rng: np.random.Generator) -> bytes:
    position = _position(data, rng)
    return data[:position] + value + data[position:]


def not_utf8(data: bytes, rng: np.random.Generator) -> bytes:
    return _insert(_NOT_UTF8[int(rng.integers(0, len(_NOT_UTF8)))], data, rng)


def strange_character(data: bytes, rng: np.random.Generator) -> bytes:
    return _insert(_STRANGE[int(rng.integers(0, len(_STRANGE)))].encode(), data, rng)


def null_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    return _insert(b"\0" * int(rng.integers(1, 40)), data, rng)


def line_ends(data: bytes, rng: np.random.Generator) -> bytes:
    return data.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b"\n\r")[int(rng.integers(0, 4))])


def nest(data: bytes, rng: np.random.Generator) -> bytes:
    depth = int(rng.choice([3, 50, 2000, 20_000]))
    return _insert(_OPENERS[int(rng.integers(0, len(_OPENERS)))] * depth, data, rng)


def long_line(data: bytes, rng: np.random.Generator) -> bytes:
    filler = (b"A", b"C", b" ", b"0", b"[", b",")[int(rng.integers(0, 6))]
    return _insert(filler * int(rng.choice([200, 20_000, 300_000])), data, rng)


def utf16(data: bytes, rng: np.random.Generator) -> bytes:
    return data.decode("utf-8", errors="replace").encode("utf-16")


def byte_order_mark(data: bytes, rng: np.random.Generator) -> bytes:
    return b"\xef\xbb\xbf" + data


def concatenate(data: bytes, rng: np.random.Generator) -> bytes:
    return data + data[_position(data, rng) :]


# Whole-file damage ends most inputs at the first check, so it is drawn more rarely.
LOCAL: tuple[Edit, ...] = (
    delete_bytes, duplicate_bytes, flip_bit, replace_bytes, delete_lines, duplicate_lines,
    swap_lines, join_lines, huge_number, odd_number, delete_token, duplicate_token, swap_tokens,
    overwrite_in_place, strange_character, concatenate,
)  # fmt: skip
COARSE: tuple[Edit, ...] = (
    truncate, truncate_front, not_utf8, null_bytes, line_ends, nest, long_line, utf16,
    byte_order_mark,
)  # fmt: skip
MAX_MUTANT_BYTES = 2 << 20


def mutate(data: bytes, seed: int, index: int) -> tuple[bytes, tuple[str, ...]]:
    """Mutant number ``index``: 1 to 4 edits, the same for the same seed on any machine.

    Returns:
        The mutant and the names of its edits.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    names = []
    for _ in range(int(rng.choice([1, 1, 2, 3, 4]))):
        pool = LOCAL if rng.random() < 0.75 else COARSE
        edit = pool[int(rng.integers(0, len(pool)))]
        data = edit(data, rng)[:MAX_MUTANT_BYTES]
        names.append(edit.__name__)
    return data, tuple(names)
