"""One bad input among five: four results, one recorded failure, exit code 2."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from rdkit import Chem

from biomol.config.predict import PredictConfig
from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from biomol.io.structure import read_structure
from biomol.io.write import write_mmcif, write_pdb
from biomol.predict import predict_with
from biomol.tasks.baselines.engine import AverageEngine
from scimind.errors import InputError

SEQUENCE = "MKDEFYRLVWGHPSTNQCAI"


def _with_labels(record: Complex) -> Complex:
    labels = np.resize(np.array([0, 0, 1, 2], np.int8), record.num_tokens)
    return replace(record, token_labels={"secondary_structure": labels})


@pytest.fixture(scope="module")
def engine() -> AverageEngine:
    """Averages over a labelled chain with positions and two molecules with a property."""
    molecules = [
        replace(from_smiles("CCO", "ethanol"), properties={"esol": 1.1}),
        replace(from_smiles("c1ccccc1", "benzene"), properties={"esol": -1.64}),
    ]
    chain = _with_labels(complex_from_sequence(SEQUENCE))
    bare = AverageEngine.fit([*molecules, chain])
    coords = bare.structures([chain], [np.zeros_like(chain.coord_mask)], seed=0, num_steps=1)[0][0]
    folded = replace(chain, coords=coords, coord_mask=chain.atom_mask)
    return AverageEngine.fit([*molecules, folded])


@pytest.fixture
def good_inputs(tmp_path: Path, engine: AverageEngine) -> list[str]:
    chain = complex_from_sequence(SEQUENCE, name="chain")
    coords = engine.structures([chain], [np.zeros_like(chain.coord_mask)], seed=0, num_steps=1)[0]
    write_mmcif(chain, coords[0], tmp_path / "folded.cif")
    (tmp_path / "protein.fasta").write_text(">protein\nMKVLAAGIVGLLLAQW\n")
    Chem.MolToMolFile(Chem.MolFromSmiles("CC(=O)O"), str(tmp_path / "acid.sdf"))
    return ["CCO", *(str(tmp_path / name) for name in ("folded.cif", "protein.fasta", "acid.sdf"))]


def _corrupt_cif(folder: Path, engine: AverageEngine) -> str:
    path = folder / "corrupt.cif"
    path.write_text("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 2.0 3\n'open\n")
    return str(path)


def _bad_smiles(folder: Path, engine: AverageEngine) -> str:
    return "C1CC(=O"


def _unknown_residue(folder: Path, engine: AverageEngine) -> str:
    chain = complex_from_sequence("AAAAA", name="odd")
    coords = engine.structures([chain], [np.zeros_like(chain.coord_mask)], seed=0, num_steps=1)[0]
    path = folder / "odd.pdb"
    write_pdb(chain, coords[0], path)
    text = path.read_text().splitlines(keepends=True)
    # The middle residue gets a name that the PDB will never give to a component.
    odd = [
        line[:17] + "DRG" + line[20:] if line.startswith("ATOM") and int(line[22:26]) == 3 else line
        for line in text
        if not line.startswith("SEQRES")
    ]
    path.write_text("".join(odd))
    return str(path)


def _empty_chain(folder: Path, engine: AverageEngine) -> str:
    path = folder / "empty.fasta"
    path.write_text(">nothing\n\n")
    return str(path)


def _rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "status.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("bad", [_corrupt_cif, _bad_smiles, _unknown_residue, _empty_chain])
def test_one_bad_input_among_five_costs_only_itself(
    tmp_path: Path,
    engine: AverageEngine,
    good_inputs: list[str],
    bad: Callable[[Path, AverageEngine], str],
    place: int,
) -> None:
    inputs = [*good_inputs]
    inputs.insert(place, bad(tmp_path, engine))
    output = tmp_path / "out"
    config = PredictConfig(checkpoint="", input=inputs, output=str(output))
    assert predict_with(engine, config) == 2
    rows = _rows(output)
    assert len(rows) == 5
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 1
    assert failed[0] is rows[place]
    assert failed[0]["source"] == inputs[place]
    assert failed[0]["reason"]
    assert failed[0]["rule"] != "internal"
    with (output / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4
    assert all(float(row["esol"]) == pytest.approx(-0.27) for row in table)
    assert [row["source"] for row in table] == good_inputs


def test_without_a_bad_input_the_exit_code_is_zero_and_files_read_back(
    tmp_path: Path, engine: AverageEngine, good_inputs: list[str]
) -> None:
    output = tmp_path / "out"
    config = PredictConfig(checkpoint="", input=good_inputs, output=str(output), num_designs=2)
    assert predict_with(engine, config) == 0
    by_name = {str(row["name"]): row for row in _rows(output)}
    assert by_name["folded"]["tasks"] == [
        "property", "secondary_structure", "inverse_folding", "side_chains", "fold",
    ]  # fmt: skip
    assert by_name["protein"]["tasks"] == ["property", "secondary_structure", "fold"]
    assert by_name["smiles-1"]["tasks"] == ["property", "fold"]
    labels = by_name["protein"]["labels"]
    assert labels == {"secondary_structure": "H" * 16}
    for row in by_name.values():
        for name in row["files"]:  # type: ignore[attr-defined]
            path = output / str(name)
            assert len(gemmi.read_structure(str(path))) == 1
            record = read_structure(path).complexes[0]
            assert record.num_tokens == row["tokens"]
            assert record.coord_mask.sum() == record.atom_mask.sum()
    text = (output / "designs.fasta").read_text().splitlines()
    assert [line.split()[0] for line in text[::2]] == [">folded-0", ">folded-1"]
    assert all(len(line) == len(SEQUENCE) for line in text[1::2])


def test_side_chains_leave_the_backbone_where_it_was(
    tmp_path: Path, engine: AverageEngine, good_inputs: list[str]
) -> None:
    output = tmp_path / "out"
    config = PredictConfig(
        checkpoint="", input=good_inputs[1], task="side_chains", output=str(output)
    )
    assert predict_with(engine, config) == 0
    before = read_structure(good_inputs[1]).complexes[0]
    after = read_structure(output / str(_rows(output)[0]["files"][0])).complexes[0]  # type: ignore[index]
    np.testing.assert_allclose(after.coords[:, :4], before.coords[:, :4], atol=2e-3)
    assert after.coord_mask.sum() == before.atom_mask.sum()


@pytest.mark.parametrize(
    ("task", "settings", "noise"),
    [
        ("fold", {}, 1.0),
        ("fold", {"noise": 0.25}, 0.25),
        ("side_chains", {}, 0.0),
        ("side_chains", {"num_samples": 2}, 1.0),
        ("side_chains", {"num_samples": 2, "noise": 0.5}, 0.5),
    ],
)
def test_the_noise_of_the_sampler_is_a_setting(
    tmp_path: Path,
    engine: AverageEngine,
    good_inputs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    settings: dict[str, float],
    noise: float,
) -> None:
    seen = []
    sample = AverageEngine.structures

    def record_noise(self: AverageEngine, *arguments: Any, **named: Any) -> Any:
        seen.append(named["noise"])
        return sample(self, *arguments, **named)

    monkeypatch.setattr(AverageEngine, "structures", record_noise)
    config = PredictConfig(
        checkpoint="none",
        input=good_inputs[1],
        task=task,
        output=str(tmp_path / "out"),
        **settings,
    )
    assert predict_with(engine, config) == 0
    assert seen == [noise]


def test_a_task_that_an_input_does_not_allow_is_a_failure_with_its_reason(
    tmp_path: Path, engine: AverageEngine
) -> None:
    output = tmp_path / "out"
    config = PredictConfig(checkpoint="", input=["CCO"], task="inverse_folding", output=str(output))
    assert predict_with(engine, config) == 2
    row = _rows(output)[0]
    assert row["rule"] == "predict.no_backbone"
    assert "backbone" in str(row["reason"])


class _Counting(AverageEngine):
    asked = 0

    def properties(self, *arguments: object, **options: object) -> np.ndarray:
        type(self).asked += 1
        return super().properties(*arguments, **options)  # type: ignore[arg-type]


def test_resume_repeats_failures_and_skips_what_is_done(
    tmp_path: Path, engine: AverageEngine, good_inputs: list[str]
) -> None:
    counting = _Counting(engine.means, engine.classes, engine.frequencies, engine.rotamers)
    output = tmp_path / "out"
    bad = tmp_path / "late.fasta"
    bad.write_text(">late\n")
    config = PredictConfig(
        checkpoint="", input=[*good_inputs, str(bad)], output=str(output), resume=True
    )
    assert predict_with(counting, config) == 2
    assert _Counting.asked == 4
    first = (output / "predictions.csv").read_text()
    # The run is killed in the middle of a line, and the bad file is mended.
    status = (output / "status.jsonl").read_text().splitlines(keepends=True)
    (output / "status.jsonl").write_text("".join([*status[:3], status[3][:20]]))
    bad.write_text(">late\nMKV\n")
    assert predict_with(counting, config) == 0
    assert _Counting.asked == 4 + 2, "the half-written one and the mended one"
    assert (output / "predictions.csv").read_text().startswith(first)
    changed = replace(config, temperature=0.5)
    assert predict_with(counting, changed) == 0
    assert _Counting.asked == 6 + 5, "other settings are other predictions"


def test_a_folder_and_a_table_are_read_record_by_record(
    tmp_path: Path, engine: AverageEngine
) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "molecules.csv").write_text("smiles,esol\nCCO,1.0\nC1CC,2.0\nCCC,3.0\n")
    (folder / "two.fasta").write_text(">a\nMKVL\n>b\nGGHK\n")
    (folder / "notes.txt").write_text("not an input")
    output = tmp_path / "out"
    config = PredictConfig(checkpoint="", input=str(folder), task="property", output=str(output))
    assert predict_with(engine, config) == 2
    rows = _rows(output)
    assert [row["status"] for row in rows].count("done") == 4
    failed = next(row for row in rows if row["status"] == "failed")
    assert "line 3" in str(failed["reason"])


def test_names_that_collide_get_their_own_files(tmp_path: Path, engine: AverageEngine) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "x.fasta").write_text(">a/b\nMKVL\n")
    inputs = [str(tmp_path / str(number) / "x.fasta") for number in (1, 2)]
    output = tmp_path / "out"
    config = PredictConfig(checkpoint="", input=inputs, task="fold", output=str(output))
    assert predict_with(engine, config) == 0
    assert sorted(path.name for path in (output / "structures").iterdir()) == [
        "a_b-2.cif",
        "a_b.cif",
    ]


def test_an_unknown_property_is_an_error_before_any_work(
    tmp_path: Path, engine: AverageEngine
) -> None:
    config = PredictConfig(
        checkpoint="", input="CCO", properties=["esul"], output=str(tmp_path / "out")
    )
    with pytest.raises(InputError, match="esul"):
        predict_with(engine, config)
    assert not (tmp_path / "out").exists()
