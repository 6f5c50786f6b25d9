from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biomol.chem.vocab import MolType
from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from biomol.io.write import write_mmcif
from biomol.report import Structure, write_report
from biomol.tasks.read_back import read_back

MOLECULES = {
    "ibuprofen": "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O",
    "threonine": "C[C@@H](O)[C@H](N)C(=O)O",
    "histamine": "NCCc1c[nH]cn1",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "acetonitrile": "CC#N",
}


def _conformer(name: str) -> Complex:
    return from_smiles(MOLECULES[name], name, conformer=True)


@pytest.mark.parametrize("name", list(MOLECULES))
def test_a_conformer_comes_back_with_its_bonds_and_hands(tmp_path: Path, name: str) -> None:
    record = _conformer(name)
    path = tmp_path / f"{name}.cif"
    write_mmcif(record, record.ref_pos, path)
    found = read_back(path, record)
    assert found.readable, found.problem
    assert found.found_atoms == found.atoms == record.num_tokens
    assert found.found_bonds == found.bonds == len(record.bonds)
    assert found.found_centres == found.centres == {"ibuprofen": 1, "threonine": 2}.get(name, 0)
    assert found.geometry is not None
    assert found.geometry.valid


def test_a_mirror_image_loses_its_hands_and_nothing_else(tmp_path: Path) -> None:
    record = _conformer("threonine")
    path = tmp_path / "mirror.cif"
    write_mmcif(record, record.ref_pos * np.float32([1, 1, -1]), path)
    found = read_back(path, record)
    assert (found.centres, found.found_centres) == (2, 0)
    assert found.found_bonds == found.bonds
    assert found.geometry is not None
    assert found.geometry.good_bonds == found.geometry.bonds


def test_collapsed_positions_are_readable_and_invalid(tmp_path: Path) -> None:
    record = _conformer("ibuprofen")
    path = tmp_path / "collapsed.cif"
    write_mmcif(record, 0.1 * record.ref_pos, path)
    found = read_back(path, record)
    assert found.geometry is not None
    assert not found.geometry.valid
    assert found.geometry.good_bonds == 0


def test_a_damaged_file_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "damaged.cif"
    path.write_text("data_x\nloop_\n_atom_site.id\n")
    found = read_back(path, _conformer("acetonitrile"))
    assert not found.readable
    assert found.problem


def test_the_report_holds_curves_predictions_and_structures(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": 3.0 / step, "lr": 1e-3} for step in range(1, 30)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    good = _conformer("ibuprofen")
    chain = complex_from_sequence("GAS", MolType.PROTEIN, "peptide")
    chain = replace(chain, coords=chain.ref_pos, coord_mask=chain.atom_mask)
    diverged = np.full_like(good.ref_pos, np.nan)
    rows = [
        {"name": "a", "property": "logp", "target": 1.0, "prediction": 1.2},
        {"name": "b", "property": "logp", "target": 2.0, "prediction": 1.9},
    ]
    report = write_report(
        tmp_path,
        [],
        rows,
        [
            Structure(record=good, coords=good.ref_pos),
            Structure(record=chain, coords=chain.ref_pos),
            Structure(record=good, coords=diverged),
        ],
    )
    assert report.counts["files"] == 3
    assert report.counts["readable"] == 2
    assert report.counts["found_centres"] == 1
    # Three residues on top of each other clash, so only the ligand is valid.
    assert report.counts["valid"] == 1
    assert "finite" in report.structures[2].problem
    with (tmp_path / "predictions.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b"]
    page = report.path.read_text()
    assert "Predicted structures" in page
    assert "data:image/png" in page
    saved = json.loads((tmp_path / "structures.json").read_text())
    assert saved["counts"] == report.counts
