"""Hostile and broken files: nothing runs, nothing is written, memory stays bounded."""

import csv
import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scimind import reading
from scimind.config import read_yaml
from scimind.errors import ConfigError, InputError


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    body = (header + "\n").encode("latin1")
    length = len(body).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + body + data


def refusal(read: Any, path: Path, *arguments: Any, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        list(read(path, *arguments, **options))  # rows are read on demand
    assert caught.value.path == str(path)
    return caught.value


def test_a_pickle_in_an_array_file_is_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    payload = pickle.dumps(Payload(marker))
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    single = tmp_path / "a.npy"
    single.write_bytes(npy(header, payload))
    assert refusal(reading.read_npy, single).rule == "npy.objects"
    single.write_bytes(payload)
    assert refusal(reading.read_npy, single).rule == "npy.header"
    archive = tmp_path / "a.npz"
    for name, data in (("x.npy", npy(header, payload)), ("x.npy", payload), ("x.pkl", payload)):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(name, data)
        refusal(reading.read_npz, archive)
    np.savez(archive, x=np.array([Payload(marker)], dtype=object))
    assert refusal(reading.read_npz, archive).rule == "npy.objects"
    assert not marker.exists()
    np.load(archive, allow_pickle=True)["x"]  # the payload does work where it is let in
    assert marker.exists()


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}", "npy.size"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9,)}", "npy.header"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "npy.header"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}", "npy.header"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, " + "9" * 30 + ")}", "npy.size"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 70 + ")}", "npy.size"),
        ("{'descr': '<f4', 'fortran_order': False}", "npy.header"),
        ("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': ()}", "npy.objects"),
        ("{'descr': '<M8[s]', 'fortran_order': False, 'shape': ()}", "npy.objects"),
        ("{'descr': '|S0', 'fortran_order': False, 'shape': (0,)}", "npy.size"),
        ("__import__('os').system('true')", "npy.header"),
        ("(" * 5000, "npy.header"),
        ("[1]", "npy.header"),
    ],
)
@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00"])
def test_an_array_header_that_lies_is_refused(
    header: str, rule: str, version: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    data = b"" if "(0, " in header or "S0" in header else bytes(4)
    path.write_bytes(npy(header, data, version))
    assert refusal(reading.read_npy, path).rule == rule


def test_an_unknown_version_and_a_short_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", bytes(4), b"\x07\x00")
    )
    assert refusal(reading.read_npy, path).rule == "npy.header"
    np.save(path, np.arange(10))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(reading.read_npy, path)


@given(arrays.arrays(dtype=st.sampled_from(["<f8", ">i4", "?", "<U3", "|S2", "<c8"]),
                     shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)),
       st.booleans())  # fmt: skip
def test_what_numpy_saves_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, fortran: bool
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    array = np.asfortranarray(array) if fortran else array
    np.save(folder / "a.npy", array)
    np.savez_compressed(
        folder / "a.npz", first=array, second=array[..., :1] if array.ndim else array
    )
    for found in (reading.read_npy(folder / "a.npy"), reading.read_npz(folder / "a.npz")["first"]):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
        assert found.flags.writeable


def test_archive_names_never_become_paths(tmp_path: Path) -> None:
    path, victim = tmp_path / "in" / "a.npz", tmp_path / "victim.npy"
    path.parent.mkdir()
    content = io.BytesIO()
    np.save(content, np.arange(3))
    link = zipfile.ZipInfo("link.npy")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as file:
        for name in ("../victim.npy", str(victim), "C:\\victim.npy"):
            file.writestr(name, content.getvalue())
        file.writestr(link, content.getvalue())
    assert len(reading.read_npz(path)) == 4
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a.npz", "in"]


def test_an_archive_that_repeats_a_name_or_hides_behind_other_content_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3))
    content = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + content)
    assert refusal(reading.read_npz, path).rule == "npz.archive"
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("x.npy", content)
    assert refusal(reading.read_npz, path).rule == "npz.duplicate"


BOUNDED = """
import resource, sys
from pathlib import Path
from scimind import reading
from scimind.errors import InputError
limit = 64 << 20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    getattr(reading, sys.argv[1])(Path(sys.argv[2]), limit)
except InputError as error:
    print(error.rule, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("reader", "name", "rules"),
    [
        ("read_npz", "bomb.npz", {"npz.size"}),
        ("read_npz", "lying.npz", {"npz.size", "npz.archive"}),
        ("read_bytes", "bomb.pdb.gz", {"file.size"}),
        ("read_text", "bomb.txt", {"file.size"}),
        ("read_npy", "bomb.npy", {"npy.size"}),
    ],
)
def test_memory_stays_within_twice_the_limit(
    reader: str, name: str, rules: set[str], tmp_path: Path
) -> None:
    size = 1 << 30  # sixteen times the limit
    path = tmp_path / name
    if name.endswith(".npz"):
        header = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,)}")
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
            file.open("x.npy", "w", force_zip64=True) as entry,
        ):
            entry.write(header)
            for _ in range(size >> 20):
                entry.write(bytes(1 << 20))
        if name.startswith("lying"):  # the directory claims 100 bytes
            content = bytearray(path.read_bytes())
            place = content.rindex(b"PK\x01\x02")
            content[place + 24 : place + 28] = (100).to_bytes(4, "little")
            path.write_bytes(content)
        assert path.stat().st_size * 100 < size
    elif name.endswith(".gz"):
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(size >> 20):
                file.write(b"ATOM      " * 104858)
    else:
        with path.open("wb") as file:
            file.write(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}"))
            if name != "bomb.npy":
                file.truncate(size)  # sparse
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, reader, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    rule, grown_kib = done.stdout.split()
    assert rule in rules
    assert int(grown_kib) * 1024 < 2 * (64 << 20) + (32 << 20)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, rule in (
        (fifo, "file.kind"),
        (tmp_path, "file.kind"),
        (Path("/dev/zero"), "file.kind"),
        (tmp_path / "absent", "file.missing"),
        (tmp_path / "a\0b", "file.unreadable"),
        (tmp_path / ("n" * 300), "file.unreadable"),
    ):
        assert refusal(reading.read_bytes, path).rule == rule
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert refusal(reading.read_bytes, loop).rule == "file.unreadable"


def test_a_damaged_gzip_stream_is_refused_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    content = gzip.compress(bytes(range(256)) * 4)
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        assert refusal(reading.read_bytes, path).rule == "file.gzip"
    path.write_bytes(content)
    assert reading.read_bytes(path) == bytes(range(256)) * 4


def test_text_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "分子 file.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert reading.read_text(path) == "one\ntwo\nthree\n"
    path.write_bytes(b"one\ntwo\n\xff")
    assert (refusal(reading.read_text, path).line, refusal(reading.read_text, path).rule) == (
        3,
        "text.encoding",
    )
    path.write_bytes(b"one\n\0")
    assert (refusal(reading.read_text, path).line, refusal(reading.read_text, path).rule) == (
        2,
        "text.null",
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "json.syntax"),
        ("{'a': 1}", "json.syntax"),
        ('{"a": NaN}', "json.constant"),
        ('{"a": -Infinity}', "json.constant"),
        ('{"a": 1e999}', "json.constant"),
        ('{"a": 1, "a": 2}', "json.duplicate"),
        ("[" * 100 + "]" * 100, "json.depth"),
        ("[" * 100_000, "json.depth"),
        ("[" * 100_000 + "]" * 100_000, "json.depth"),
        ("9" * 5000, "json.number"),
        ('{"a": 1} x', "json.syntax"),
    ],
)
def test_json_is_strict(text: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    assert refusal(reading.read_json, path).rule == rule


def test_json_of_64_levels_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 63 + "1" + "]" * 63, encoding="utf-8")
    assert json.dumps(reading.read_json(path)) == "[" * 63 + "1" + "]" * 63


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("", "csv.header", None),
        ("\n\n", "csv.header", None),
        ("a,,b\n", "csv.header", 1),
        ("a,b,a\n1,2,3\n", "csv.header", 1),
        ("a,b\n1,2\n1,2,3\n", "csv.width", 3),
        ('a,b\n"x\ny",2\n1\n', "csv.width", 4),
        ('a,b\n1,"2\n', "csv.syntax", 2),
        ('a,b\n1,"2"x\n', "csv.syntax", 2),
        ("a\n" + "x" * 200_000 + "\n", "csv.syntax", 2),
    ],
)
def test_csv_errors_name_the_line(text: str, rule: str, line: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    error = refusal(reading.read_csv, path)
    assert (error.rule, error.line) == (rule, line)


def test_a_long_cell_is_refused_though_another_library_lifts_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "x" * 200_000 + "\n", encoding="utf-8")
    before = csv.field_size_limit(2**31)
    try:
        with pytest.raises(InputError, match="131072"):
            list(reading.read_csv(path))
    finally:
        csv.field_size_limit(before)


def test_csv_rows_carry_the_line_they_begin_in(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfname, value\r\n"x\ny",1\r\n\r\n"a ""b""",2\r\n')
    assert list(reading.read_csv(path)) == [
        (2, {"name": "x\ny", "value": "1"}),
        (5, {"name": 'a "b"', "value": "2"}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:pathlib.Path.touch [{marker}]",
        "a: !!python/name:os.system",
        "!!python/object/new:os.system [touch {marker}]",
        "a: &x [1]\nb: [*x, *x]",
        "a: &a [x, x]\n"
        + "\n".join(f"{c}: &{c} [*{p}, *{p}]" for p, c in zip("abc", "bcd", strict=True)),
        "a: {b: " * 3000,
        "a: !custom 1",
        "a: 1\na: 2",
        "<<: *missing",
        "a: \x07",
        "? [a]\n: 1",
    ],
)
def test_yaml_builds_nothing_but_plain_values(text: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "a.yaml"
    path.write_text(text.replace("{marker}", str(marker)), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()
