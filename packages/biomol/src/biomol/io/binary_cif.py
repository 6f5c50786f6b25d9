"""BinaryCIF: MessagePack with columns of encoded arrays, decoded in bounded memory.

A column of a few bytes can claim billions of rows. Every size is therefore checked before an array
of that size is made: the cells that the whole file declares against the bytes it has, and the
output of every step of a column against the rows of its category.

Format: Sehnal et al., PLOS Computational Biology 16 (2020) e1008247, and
https://github.com/molstar/BinaryCIF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np

from scimind.errors import InputError

_BYTE_TYPES = {1: "i1", 2: "<i2", 3: "<i4", 4: "u1", 5: "<u2", 6: "<u4", 32: "<f4", 33: "<f8"}
_FLOAT_TYPES = {32: np.float32, 33: np.float64}
# The entries of the Protein Data Bank have about two cells per byte.
_CELLS_PER_BYTE = 8
_ALWAYS_ALLOWED_CELLS = 4_000_000


class BinaryBlock:
    """A data block of a BinaryCIF file; a category is decoded when it is asked for."""

    def __init__(self, content: Mapping[str, Any], source: str) -> None:
        self.name = str(content["header"])
        self._source = source
        self._categories: dict[str, Mapping[str, Any]] = {}
        for category in content["categories"]:
            name = str(category["name"]).lstrip("_")
            if name in self._categories:
                raise ValueError(f"category {name} occurs twice")
            self._categories[name] = category

    def category(self, name: str) -> Mapping[str, Sequence[Any]]:
        """Columns of a category, empty when it is absent; None stands for ``?`` and ``.``.

        Raises:
            InputError: A column is damaged, or its length is not that of the category.
        """
        if name not in self._categories:
            return {}
        category = self._categories[name]
        columns: dict[str, Sequence[Any]] = {}
        for column in category["columns"]:
            try:
                columns[str(column["name"])] = _column(column, int(category["rowCount"]))
            except Exception as error:  # damaged bytes raise many kinds
                raise InputError(
                    f"column {name}.{column.get('name')} cannot be decoded "
                    f"({type(error).__name__}: {error}); the file is damaged",
                    path=self._source,
                    rule="bcif.category",
                ) from error
        return columns


def read_binary_blocks(data: bytes, *, source: str) -> list[BinaryBlock]:
    """Data blocks of a BinaryCIF file.

    Args:
        data: Content of the file.
        source: Path for messages.

    Raises:
        InputError: The bytes are not BinaryCIF, are cut short, or declare implausibly many rows.
    """
    try:
        content = msgpack.unpackb(data, raw=False)
        cells = sum(
            _row_count(category) * sum(2 if c.get("mask") else 1 for c in category["columns"])
            for block in content["dataBlocks"]
            for category in block["categories"]
        )
        blocks = [BinaryBlock(block, source) for block in content["dataBlocks"]]
    except Exception as error:  # damaged bytes raise many kinds
        raise InputError(
            f"not valid BinaryCIF ({type(error).__name__}: {error}); the file is damaged",
            path=source,
            rule="bcif.syntax",
        ) from error
    limit = max(_ALWAYS_ALLOWED_CELLS, _CELLS_PER_BYTE * len(data))
    if cells > limit:
        raise InputError(
            f"the file of {len(data)} bytes declares {cells} values, more than the {limit} that "
            "are plausible for its size; it is damaged or made to exhaust memory",
            path=source,
            rule="bcif.size",
        )
    return blocks


def _row_count(category: Mapping[str, Any]) -> int:
    rows = category["rowCount"]
    if not isinstance(rows, int) or rows < 0:
        raise ValueError(f"category {category['name']} has rowCount {rows!r}")
    return rows


def _column(column: Mapping[str, Any], rows: int) -> list[Any]:
    values = _values(column["data"], rows)
    mask = column.get("mask")
    if mask is None:
        return values
    missing = _decode(mask["data"], mask["encoding"], rows, rows)
    return [None if m else v for v, m in zip(values, missing.tolist(), strict=True)]


def _values(content: Mapping[str, Any], rows: int) -> list[Any]:
    steps = content["encoding"]
    if steps and steps[0]["kind"] == "StringArray":
        if len(steps) > 1:
            raise ValueError("StringArray is combined with other encodings")
        return _strings(content["data"], steps[0], rows)
    return list(_decode(content["data"], steps, rows, rows).tolist())


def _strings(data: bytes, step: Mapping[str, Any], rows: int) -> list[str]:
    """Texts that occur in the column stand once in ``stringData``; the rows are indices."""
    text = step["stringData"]
    offsets = _decode(step["offsets"], step["offsetEncoding"], None, len(text) + rows + 1)
    bounds = offsets.tolist()
    if len(bounds) and (bounds[0] < 0 or bounds[-1] > len(text) or (np.diff(offsets) < 0).any()):
        raise ValueError("the offsets of a StringArray are not ascending places of its text")
    distinct = [text[i:j] for i, j in pairwise(bounds)]
    indices = _decode(data, step["dataEncoding"], rows, rows)
    if len(indices) and (indices.min() < -1 or indices.max() >= len(distinct)):
        raise ValueError(f"an index of a StringArray is not among its {len(distinct)} texts")
    distinct.append("")  # -1: no text
    return [distinct[i] for i in indices.tolist()]


def _decode(
    data: bytes, steps: Sequence[Mapping[str, Any]], size: int | None, limit: int
) -> np.ndarray:
    """Undo the steps of an encoding, the last one first.

    Args:
        data: Encoded bytes.
        steps: Encodings in the order of their application.
        size: Length that the result must have, None if it is not declared.
        limit: Largest plausible length of the result.
    """
    if not steps or steps[-1]["kind"] != "ByteArray":
        raise ValueError("the innermost encoding is not ByteArray")
    array: np.ndarray = np.frombuffer(data, _BYTE_TYPES[steps[-1]["type"]])
    for step in reversed(steps[:-1]):
        array = _undo(step, array, limit)
    if size is not None and len(array) != size:
        raise ValueError(f"{len(array)} values were found and the category has {size} rows")
    if len(array) > limit:
        raise ValueError(f"{len(array)} values were found, at most {limit} are plausible")
    return array


def _undo(step: Mapping[str, Any], array: np.ndarray, limit: int) -> np.ndarray:
    kind = step["kind"]
    if kind == "FixedPoint":
        return (array / float(step["factor"])).astype(_FLOAT_TYPES[step["srcType"]])
    if kind == "IntervalQuantization":
        width = (float(step["max"]) - float(step["min"])) / (int(step["numSteps"]) - 1)
        return (float(step["min"]) + array * width).astype(_FLOAT_TYPES[step["srcType"]])
    if array.dtype.kind not in "iu":
        raise ValueError(f"{kind} encodes integers and was applied to {array.dtype}")
    integers = array.astype(np.int64)
    if kind == "Delta":
        return np.cumsum(integers) + int(step["origin"])
    if kind == "IntegerPacking":
        return _unpack(step, integers)
    if kind == "RunLength":
        return _repeat(step, integers, limit)
    raise ValueError(f"unknown encoding {kind!r}")


def _unpack(step: Mapping[str, Any], integers: np.ndarray) -> np.ndarray:
    """A value beyond the range of the small type is a run of extreme values and a rest."""
    bits = 8 * int(step["byteCount"])
    extremes = [2**bits - 1] if step["isUnsigned"] else [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    ends = np.flatnonzero(~np.isin(integers, extremes))
    _agree(step, len(ends))
    if len(integers) and (not len(ends) or ends[-1] != len(integers) - 1):
        raise ValueError("the last value of an IntegerPacking is cut short")
    totals = np.cumsum(integers)[ends]
    return np.diff(totals, prepend=0)


def _repeat(step: Mapping[str, Any], integers: np.ndarray, limit: int) -> np.ndarray:
    """Pairs of a value and the number of its repeats."""
    if len(integers) % 2 or (integers[1::2] < 0).any():
        raise ValueError("a RunLength is not made of values and counts")
    total = sum(integers[1::2].tolist())  # Python's integers: no overflow
    _agree(step, total)
    if total > 2 * limit:  # an inner RunLength may hold the pairs of an outer one
        raise ValueError(f"a RunLength of {total} values, at most {limit} are plausible")
    return np.repeat(integers[::2], integers[1::2])


def _agree(step: Mapping[str, Any], found: int) -> None:
    if step["srcSize"] != found:
        raise ValueError(f"{step['kind']} declares {step['srcSize']} values and holds {found}")
