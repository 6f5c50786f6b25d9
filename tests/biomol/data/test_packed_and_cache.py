import logging
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from biomol.chem.vocab import MolType
from biomol.data.cache import load_or_build
from biomol.data.complex import Complex
from biomol.data.packed import PackedComplexes, pack
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles


@pytest.fixture
def records() -> list[Complex]:
    protein = complex_from_sequence("MKWC", MolType.PROTEIN, "peptide", properties={"y": 1.25})
    protein.token_labels["helix"] = np.array([0, 1, -1, 2])
    ligand = from_smiles("C[N+](C)(C)C[C@H](O)CC([O-])=O.[Na+]", "carnitine", conformer=True)
    ligand.properties["z"] = -3.0
    return [protein, ligand, complex_from_sequence("ACGU", MolType.RNA, "rna")]


def assert_same(first: Complex, second: Complex) -> None:
    for field in fields(Complex):
        one, two = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two, err_msg=field.name)
        elif field.name == "token_labels":
            assert one.keys() == two.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], two[name])
        else:
            assert one == two, field.name


def test_packing_loses_nothing(records: list[Complex]) -> None:
    packed = pack(records)
    assert len(packed) == 3
    assert packed.num_tokens.tolist() == [record.num_tokens for record in records]
    for record, unpacked in zip(records, packed, strict=True):
        assert_same(record, unpacked)
    assert_same(packed[-1], records[2])
    assert [record.name for record in packed[1:]] == ["carnitine", "rna"]
    with pytest.raises(IndexError):
        packed[3]


def test_a_cache_is_used_and_depends_on_its_key(records: list[Complex], tmp_path: Path) -> None:
    calls = []

    def build() -> tuple[PackedComplexes, dict]:
        calls.append(1)
        return pack(records), {"scaffolds": ["a", "b", "ä"]}

    first, description = load_or_build(tmp_path, "test", {"seed": 0}, build)
    second, again = load_or_build(tmp_path, "test", {"seed": 0}, build)
    assert len(calls) == 1
    assert description == again
    for one, two in zip(first, second, strict=True):
        assert_same(one, two)
    load_or_build(tmp_path, "test", {"seed": 1}, build)
    assert len(calls) == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_damaged_cache_is_named_and_built_again(
    records: list[Complex], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def build() -> tuple[PackedComplexes, dict]:
        return pack(records), {"n": 3}

    load_or_build(tmp_path, "test", {}, build)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    damages = [content[: len(content) // 2], b""]
    for place in rng.integers(0, len(content), size=60):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        damages.append(bytes(flipped))
    for damage in damages:
        path.write_bytes(damage)
        with caplog.at_level(logging.WARNING):
            loaded, description = load_or_build(tmp_path, "test", {}, build)
        # A flip is either detected or in a byte that carries no content (padding, dates).
        assert description == {"n": 3}
        for record, other in zip(records, loaded, strict=True):
            assert_same(record, other)
    assert "built again" in caplog.text
    assert path.read_bytes()


def test_a_folder_that_cannot_be_written_costs_only_time(
    records: list[Complex], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    loaded, _ = load_or_build(blocked / "sub", "t", {}, lambda: (pack(records), {}))
    assert len(loaded) == 3
    assert "cannot be written" in caplog.text
