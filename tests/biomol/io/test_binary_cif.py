"""BinaryCIF columns decode like in biotite's reader, and never to more than the file can hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from biotite.structure.io import pdbx

from biomol.io.binary_cif import read_binary_blocks
from scimind.errors import InputError

INTEGERS = np.array([5, 5, 5, -3, 300, 70000, 70000, 0, 127, -128, 255, 32767, -32768, 1], np.int32)
FLOATS = np.array([1.25, -3.5, 0.0, 17.125, 99.875])
TEXTS = np.array(["CA", "N", "CA", "", "CA", "ZN"])
INT32, FLOAT64 = pdbx.TypeCode.INT32, pdbx.TypeCode.FLOAT64
RUNS, BYTES = pdbx.RunLengthEncoding(src_type=INT32), pdbx.ByteArrayEncoding()
ENCODINGS: dict[str, tuple[np.ndarray, list[Any]]] = {
    "bytes": (INTEGERS, [pdbx.ByteArrayEncoding(INT32)]),
    "doubles": (FLOATS, [pdbx.ByteArrayEncoding(FLOAT64)]),
    "runs": (INTEGERS, [RUNS, BYTES]),
    "differences": (INTEGERS, [pdbx.DeltaEncoding(src_type=INT32), BYTES]),
    "one byte": (INTEGERS, [pdbx.IntegerPackingEncoding(1), BYTES]),
    "two bytes": (INTEGERS, [pdbx.IntegerPackingEncoding(2), BYTES]),
    "unsigned byte": (np.abs(INTEGERS), [pdbx.IntegerPackingEncoding(1), BYTES]),
    "differences in runs in bytes": (
        np.arange(1, 400, dtype=np.int32),
        [
            pdbx.DeltaEncoding(src_type=INT32),
            pdbx.RunLengthEncoding(src_type=INT32),
            pdbx.IntegerPackingEncoding(1),
            pdbx.ByteArrayEncoding(),
        ],
    ),
    "fixed point": (FLOATS, [pdbx.FixedPointEncoding(8, FLOAT64), pdbx.ByteArrayEncoding()]),
    "quantized": (
        FLOATS,
        [pdbx.IntervalQuantizationEncoding(-4, 100, 833, FLOAT64), pdbx.ByteArrayEncoding()],
    ),
    "texts": (TEXTS, [pdbx.StringArrayEncoding()]),
}


def packed(values: np.ndarray, encoding: list[Any] | None = None) -> dict[str, Any]:
    """A column as it stands in a file, encoded by biotite."""
    data = pdbx.BinaryCIFData(values, encoding)
    return msgpack.unpackb(msgpack.packb(data.serialize(), default=lambda n: n.item()))


def file_of(columns: dict[str, dict[str, Any]], rows: int) -> bytes:
    listed = [{"name": name, "data": data, "mask": None} for name, data in columns.items()]
    category = {"name": "_thing", "rowCount": rows, "columns": listed}
    return msgpack.packb({"dataBlocks": [{"header": "X", "categories": [category]}]})


def read(content: bytes) -> dict[str, Any]:
    (block,) = read_binary_blocks(content, source="thing.bcif")
    return dict(block.category("thing"))


@pytest.mark.parametrize("name", ENCODINGS)
def test_values_encoded_by_biotite_come_back(name: str) -> None:
    values, encoding = ENCODINGS[name]
    column = packed(values, encoding)
    assert read(file_of({"a": column}, len(values)))["a"] == values.tolist()


def test_every_column_of_a_real_file_is_what_biotite_reads(real_data: Path) -> None:
    content = (real_data / "biomol" / "formats" / "1aki.bcif").read_bytes()
    (ours,) = read_binary_blocks(content, source="1aki.bcif")
    theirs = pdbx.BinaryCIFFile.read(io.BytesIO(content)).block
    columns = 0
    for name, category in theirs.items():
        for key, column in category.items():
            expected = column.data.array.tolist()
            if column.mask is not None:
                expected = [None if m else v for v, m in zip(expected, column.mask.array)]  # noqa: B905
            assert ours.category(name)[key] == expected, (name, key)
            columns += 1
    assert columns > 300


def runs(value: int, count: int, declared: int) -> dict[str, Any]:
    return {
        "data": np.array([value, count], "<i4").tobytes(),
        "encoding": [
            {"kind": "RunLength", "srcType": 3, "srcSize": declared},
            {"kind": "ByteArray", "type": 3},
        ],
    }


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        pytest.param(file_of({"a": runs(1, 7, 7)}, 8), "bcif.category", id="too short"),
        pytest.param(file_of({"a": runs(1, 7, 9)}, 9), "bcif.category", id="runs end early"),
        pytest.param(file_of({"a": runs(1, 9, 7)}, 7), "bcif.category", id="runs go on"),
        pytest.param(file_of({"a": runs(1, -7, -7)}, 7), "bcif.category", id="negative runs"),
        pytest.param(file_of({"a": runs(1, 2**30, 2**30)}, 7), "bcif.category", id="long runs"),
        pytest.param(file_of({"a": runs(1, 2**30, 2**30)}, 2**30), "bcif.size", id="all agree"),
        pytest.param(
            file_of({str(i): runs(1, 90_000, 90_000) for i in range(100)}, 90_000),
            "bcif.size",
            id="many columns",
        ),
        pytest.param(file_of({"a": runs(1, 7, 7)}, -7), "bcif.syntax", id="negative rows"),
        pytest.param(b"\x81\xa1", "bcif.syntax", id="cut short"),
    ],
)
def test_sizes_that_do_not_agree_are_refused(content: bytes, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        read(content)
    assert caught.value.rule == rule
    assert caught.value.path == "thing.bcif"


@pytest.mark.parametrize("damage", ["index", "offset", "backwards"])
def test_texts_outside_of_their_store_are_refused(damage: str) -> None:
    column = packed(TEXTS, [pdbx.StringArrayEncoding()])
    (step,) = column["encoding"]
    if damage == "index":
        column["data"] = np.array([0, 1, 0, 0, 0, 9], "<i4").tobytes()
    else:
        ends = [0, 2, 99] if damage == "offset" else [0, 5, 2]
        step["offsets"] = np.array(ends, "<i4").tobytes()
        step["offsetEncoding"] = [{"kind": "ByteArray", "type": 3}]
        column["data"] = np.zeros(6, "<i4").tobytes()
    step["dataEncoding"] = [{"kind": "ByteArray", "type": 3}]
    with pytest.raises(InputError, match="StringArray"):
        read(file_of({"a": column}, 6))


def test_one_long_text_and_many_rows_do_not_multiply() -> None:
    # A fixed-width array of these 100,000 rows would take 400 GB.
    step = {
        "kind": "StringArray",
        "stringData": "x" * 1_000_000,
        "offsets": np.array([0, 1_000_000], "<i4").tobytes(),
        "offsetEncoding": [{"kind": "ByteArray", "type": 3}],
        "dataEncoding": runs(0, 100_000, 100_000)["encoding"],
    }
    column = {"data": runs(0, 100_000, 100_000)["data"], "encoding": [step]}
    values = read(file_of({"a": column}, 100_000))["a"]
    assert len(values) == 100_000
    assert values[0] is values[-1]
