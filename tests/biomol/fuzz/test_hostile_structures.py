"""Structure and molecule files made to exhaust memory or time end in a typed error."""

import gzip
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest

from fuzzing import molecules

READ = """
import resource, sys, time
from pathlib import Path
from scimind.errors import InputError
reader, original, hostile = sys.argv[1], *map(Path, sys.argv[2:4])
module, _, name = reader.partition(":")
read = getattr(__import__(module, fromlist=[name]), name)
read(original)
memory, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read(hostile)
    rule = "read"
except InputError as error:
    assert error.path == str(hostile), error.path
    rule = error.rule
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
print(rule, memory >> 10, time.process_time() - cpu)
"""
STRUCTURE = "biomol.io.structure:read_structure"
SDF, TABLE = "biomol.io.ligand:read_sdf", "biomol.io.tables:read_table"


def outcome(reader: str, original: Path, hostile: Path) -> tuple[str, int, float]:
    """Rule of the refusal (or "read"), memory in MiB beyond a normal file, CPU seconds."""
    done = subprocess.run(
        [sys.executable, "-c", READ, reader, str(original), str(hostile)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rule, memory, cpu = done.stdout.split()
    return rule, int(memory), float(cpu)


@pytest.mark.parametrize("encoding", ["RunLength", "IntegerPacking", "nested"])
def test_a_binary_cif_column_that_unpacks_to_gigabytes_is_refused(
    encoding: str, tmp_path: Path
) -> None:
    original = molecules.write_bcif(tmp_path)[0]
    content = msgpack.unpackb(original.read_bytes(), raw=False, strict_map_key=False)
    category = next(c for c in content["dataBlocks"][0]["categories"] if "atom_site" in c["name"])
    column = next(c for c in category["columns"] if c["name"] == "Cartn_x")
    count = 400_000_000
    runs = {"kind": "RunLength", "srcType": 3, "srcSize": count}
    integers = {"kind": "ByteArray", "type": 3}
    if encoding == "RunLength":
        column["data"] = {
            "data": np.array([1, count], "<i4").tobytes(),
            "encoding": [runs, integers],
        }
    elif encoding == "IntegerPacking":
        packing = {"kind": "IntegerPacking", "byteCount": 1, "srcSize": count, "isUnsigned": True}
        column["data"] = {
            "data": np.zeros(8, "u1").tobytes(),
            "encoding": [packing, {"kind": "ByteArray", "type": 4}],
        }
    else:  # the mask of a column is packed too
        column["mask"] = {
            "data": np.array([0, count], "<i4").tobytes(),
            "encoding": [runs, integers],
        }
    hostile = tmp_path / "hostile.bcif"
    hostile.write_bytes(msgpack.packb(content))
    rule, memory, cpu = outcome(STRUCTURE, original, hostile)
    assert rule.startswith(("bcif.", "cif."))
    assert memory < 400
    assert cpu < 10


def test_deep_nesting_of_message_pack_is_refused(tmp_path: Path) -> None:
    original = molecules.write_bcif(tmp_path)[0]
    hostile = tmp_path / "hostile.bcif"
    hostile.write_bytes(b"\x91" * 2_000_000)
    rule, memory, cpu = outcome(STRUCTURE, original, hostile)
    assert rule == "bcif.syntax"
    assert memory < 400
    assert cpu < 10


@pytest.mark.parametrize("kind", ["mmcif", "csv"])
def test_a_compressed_bomb_is_refused_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    original = getattr(molecules, f"write_{kind}")(tmp_path)[0]
    hostile = tmp_path / f"hostile{original.suffix}.gz"
    with gzip.open(hostile, "wb", compresslevel=1) as file:
        for _ in range(1100):  # just over the limit of 1 GiB
            file.write(b"# comment\n" * 104858)
    reader = {"mmcif": STRUCTURE, "csv": TABLE}[kind]
    rule, memory, _ = outcome(reader, original, hostile)
    assert rule == "file.size"
    assert memory < 2 * 1024 + 64


def test_declared_counts_allocate_nothing(tmp_path: Path) -> None:
    original = molecules.write_sdf(tmp_path)[1]
    hostile = tmp_path / "hostile.sdf"
    text = original.read_text(encoding="utf-8")
    start = text.index("COUNTS ") + len("COUNTS ")
    stop = text.index(" ", start)
    hostile.write_text(text[:start] + "1000000000" + text[stop:], encoding="utf-8")
    rule, memory, cpu = outcome(SDF, original, hostile)
    assert rule == "read"  # the other records of the file
    assert memory < 400
    assert cpu < 10


@pytest.mark.parametrize("letter", ["A", "(", "[", "C1"])
def test_a_record_of_a_million_letters_takes_seconds(letter: str, tmp_path: Path) -> None:
    table = tmp_path / "hostile.csv"
    table.write_text(f"smiles,y\n{letter * 1_000_000},1\nCCO,2\n", encoding="utf-8")
    _, memory, cpu = outcome(TABLE, molecules.write_csv(tmp_path)[0], table)
    assert memory < 400
    assert cpu < 10
