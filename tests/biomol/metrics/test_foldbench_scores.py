"""Our scores against those of OpenStructure and DockQ on FoldBench's own examples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from biomol.data.complex import Complex
from biomol.io.structure import read_structure
from biomol.metrics.dockq import dockq
from biomol.metrics.lddt import lddt
from biomol.metrics.matching import Correspondence, match, residue_groups, residue_points
from biomol.metrics.superposition import gdt, rmsd, tm_score

SAMPLES = range(5)


@pytest.fixture(scope="module")
def foldbench(real_data: Path) -> Path:
    return real_data / "biomol" / "benchmarks" / "foldbench"


def _compared(folder: Path, target: str, sample: int) -> tuple[Complex, Complex, Correspondence]:
    reference = read_structure(folder / f"ground_truths/{target}-assembly1.cif").complexes[0]
    model = read_structure(folder / f"predictions/{target}/sample_{sample}.cif").complexes[0]
    return reference, model, match(reference, model)


def _official(folder: Path, target: str, sample: int) -> dict[str, object]:
    path = folder / f"official_scores/{target}-assembly1_42_{sample}_structure_ost.json"
    content: dict[str, object] = json.loads(path.read_text())
    return content


def _without_rejected(
    official: dict[str, object], reference: Complex, model: Complex, found: Correspondence
) -> np.ndarray:
    """Presence without the residues in which OpenStructure found impossible geometry.

    It takes them out of the model before scoring, which our lDDT leaves to ``metrics.validity``.
    """
    present = found.present.copy()
    for kind in ("model_clashes", "model_bad_bonds", "model_bad_angles"):
        for problem in official[kind]:  # type: ignore[attr-defined]
            for atom in ("a1", "a2", "a3"):
                if atom in problem:
                    chain, number = problem[atom].split(".")[:2]
                    ours = {c: model.chain_names[m] for c, m in found.chains.items()}
                    names = np.array([ours.get(int(c), "") for c in reference.chain_id])
                    present[(names == chain) & (reference.res_index == int(number) - 1)] = False
    return present


def _polymer_atoms(reference: Complex) -> np.ndarray:
    """Resolved atoms of residues with a CA or C3', as OpenStructure selects them."""
    groups = residue_groups(reference)
    points = residue_points(reference, "C3'").any(axis=1)
    return reference.coord_mask & np.isin(groups, groups[points])[:, None]


@pytest.mark.parametrize("sample", SAMPLES)
def test_monomer_scores_equal_openstructure(foldbench: Path, sample: int) -> None:
    reference, _, found = _compared(foldbench, "5sbj", sample)
    official = _official(foldbench, "5sbj", sample)
    points = residue_points(reference) & reference.coord_mask
    predicted, true, has = found.coords[points], reference.coords[points], found.present[points]
    assert len(true) == 28
    assert rmsd(predicted, true, has) == pytest.approx(official["rmsd"], abs=1e-3)
    # The search may find a better superposition than the official one, not a worse one.
    for kind in ("ts", "ha"):
        expected = float(official[f"oligo_gdt{kind}"])  # type: ignore[arg-type]
        assert expected - 1e-3 <= gdt(predicted, true, has, kind=kind) <= expected + 0.01
    # The official TM-score searches the alignment too.
    assert tm_score(predicted, true, has) == pytest.approx(official["tm_score"], abs=0.01)
    score, _ = lddt(
        found.coords,
        reference.coords,
        _polymer_atoms(reference),
        reference.restype,
        present=found.present,
        group=residue_groups(reference),
    )
    assert score == pytest.approx(official["lddt"], abs=0.008)


@pytest.mark.parametrize("sample", SAMPLES)
def test_complex_scores_equal_openstructure_and_dockq(foldbench: Path, sample: int) -> None:
    reference, model, found = _compared(foldbench, "8e3r", sample)
    official = _official(foldbench, "8e3r", sample)
    assert found.exhaustive
    assert {reference.chain_id.max(), *found.chains} == {0, 1, 2}
    score, _ = lddt(
        found.coords,
        reference.coords,
        _polymer_atoms(reference),
        reference.restype,
        present=_without_rejected(official, reference, model, found),
    )
    assert score == pytest.approx(official["lddt"], abs=0.003)
    points = residue_points(reference, "C3'") & reference.coord_mask
    tm = tm_score(found.coords[points], reference.coords[points], found.present[points])
    assert tm == pytest.approx(official["tm_score"], abs=0.003)
    path = foldbench / f"official_scores/8e3r-assembly1_42_{sample}_A_C_structure_dockqv2.json"
    expected = json.loads(path.read_text())["best_result"]["AC"]
    interface = dockq(reference, found, 0, 2)
    assert interface is not None
    assert interface.dockq == pytest.approx(expected["DockQ"], abs=1e-5)
    assert interface.fnat == pytest.approx(expected["fnat"], abs=1e-6)
    assert interface.interface_rmsd == pytest.approx(expected["iRMSD"], abs=1e-4)
    assert interface.ligand_rmsd == pytest.approx(expected["LRMSD"], abs=1e-4)
