"""The main job as a user runs it: train, be killed, go on, then score and predict."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import gemmi
import numpy as np
import pytest
from rdkit import Chem

from biomol.config.evaluate import EvaluateConfig, EvaluateDataConfig
from biomol.config.predict import PredictConfig
from biomol.evaluate import evaluate_engine
from biomol.io.structure import read_structure
from biomol.io.write import write_mmcif
from biomol.predict import predict_with
from scimind.eval import Result
from scimind.train import find, load, read_metrics
from small_complexes import peptide

pytestmark = pytest.mark.slow

SETTINGS = (
    "experiment=smoke", "data.limit=60", "report.structures=2", "checkpoint.every=20",
    "threads=1", "log.every=1",
)  # fmt: skip


def command(folder, *more):
    arguments = [f"output={folder}", *SETTINGS, *more]
    return [sys.executable, "-m", "biomol.train", *arguments]


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """A run that is killed after its first checkpoint, and the same command again."""
    folder = tmp_path_factory.mktemp("training") / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        command(folder, "steps=100000"),
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 500
        while not list(folder.glob("checkpoints/step-*/manifest.json")):
            assert first.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < end, "no checkpoint in 500 s"
            time.sleep(0.1)
        second = subprocess.run(
            command(folder), env=environment, capture_output=True, text=True, timeout=300
        )
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    killed_at = load(find(folder, "last")).step
    done = subprocess.run(
        command(folder, f"steps={killed_at + 5}"),
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    return {"folder": folder, "second": second, "killed_at": killed_at, "done": done}


def test_a_second_run_in_the_folder_is_refused(story):
    second = story["second"]
    assert second.returncode == 2
    assert "is in use by process" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_killed_run_goes_on_from_its_last_checkpoint(story):
    assert story["done"].returncode == 0, story["done"].stderr
    last = story["killed_at"]
    assert last > 0
    assert load(find(story["folder"], "last")).step == last + 5
    steps = [row["step"] for row in read_metrics(story["folder"] / "metrics.jsonl", "train")]
    assert steps == list(range(1, last + 6)), "every step is recorded exactly once"


def test_the_run_folder_holds_what_the_readme_promises(story):
    folder = story["folder"]
    for name in ("config.yaml", "provenance.json", "rejected.jsonl", "metrics.jsonl", "log.txt"):
        assert (folder / name).is_file(), name
    results = json.loads((folder / "results.json").read_text())
    names = {score["name"] for score in results["scores"]}
    assert {"ccd/logp/rmse", "components/conformers/rmsd"} <= names
    assert all(np.isfinite(score["value"]) for score in results["scores"])
    page = (folder / "report.html").read_text()
    assert "ccd/logp/rmse" in page
    assert "http://" not in page.replace("http://www.w3.org", ""), "the report stands alone"
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    truth = np.array([float(row["truth"]) for row in rows if row["property"] == "ccd/logp"])
    answer = np.array([float(row["predicted"]) for row in rows if row["property"] == "ccd/logp"])
    score = next(score for score in results["scores"] if score["name"] == "ccd/logp/rmse")
    assert np.sqrt(np.mean((truth - answer) ** 2)) == pytest.approx(score["value"], rel=1e-5)


def test_the_structures_of_a_run_are_read_by_gemmi(story):
    paths = sorted((story["folder"] / "structures").glob("*.cif"))
    assert len(paths) == 2
    for path in paths:
        structure = gemmi.read_structure(str(path))
        atoms = [cra.atom for cra in structure[0].all()]
        assert len(atoms) >= 4
        assert len({tuple(atom.pos.tolist()) for atom in atoms}) == len(atoms)


@pytest.fixture(scope="session")
def engine(story):
    from biomol.sampling import load_engine

    assert story["done"].returncode == 0, story["done"].stderr
    return load_engine(str(story["folder"]))


def test_the_engine_says_where_it_comes_from(engine, story):
    facts = engine.describe()
    assert facts["model"] == "biomol-smoke"
    assert facts["checkpoint_hash"]
    assert facts["parameters"] == sum(p.size for p in engine.inference.network.get_parameters())
    assert "ccd/logp" in engine.property_names


def test_an_engine_answers_as_the_run_that_trained_it(engine, story):
    from biomol.io.ligand import from_smiles

    with (story["folder"] / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["property"] == "ccd/logp"]
    # stereochemistry is an input and SMILES keep it
    records = [from_smiles(row["key"], row["record"]) for row in rows]
    found = engine.properties(records, ["ccd/logp"])[:, 0]
    expected = [float(row["predicted"]) for row in rows]
    # the order of atoms changes rounding only
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


def test_a_table_of_ones_own_is_scored(engine, tmp_path):
    smiles = [f"{ring}{'C' * n}" for ring in ("c1ccccc1", "C1CCCC1", "c1ccsc1") for n in range(9)]
    path = tmp_path / "ccd.csv"
    path.write_text("smiles,logp\n" + "".join(f"{s},{len(s) / 4}\n" for s in smiles))
    config = EvaluateConfig(
        checkpoint="", output=str(tmp_path / "out"), task="table", resamples=100,
        data=EvaluateDataConfig(path=str(path)),
    )  # fmt: skip
    (evaluation,), code = evaluate_engine(engine, config)
    assert code == 0
    result = Result.load(tmp_path / "out" / "results" / "table-ccd.json")
    assert result.model == "biomol-smoke"
    assert np.isfinite(result.metrics["rmse"].value)
    assert result.checkpoint_hash == engine.describe()["checkpoint_hash"]
    assert evaluation.result.items == result.items


def test_one_bad_input_of_five_costs_only_itself(engine, tmp_path):
    chain = peptide("MKDEFYRLVWGH", name="chain")
    write_mmcif(chain, chain.coords, tmp_path / "chain.cif")
    (tmp_path / "protein.fasta").write_text(">protein\nMKVLAAGIVGLLLAQW\n")
    Chem.MolToMolFile(Chem.MolFromSmiles("CC(=O)O"), str(tmp_path / "acid.sdf"))
    inputs = [
        "CCO",
        "C1CC(=O",
        *(str(tmp_path / n) for n in ("chain.cif", "protein.fasta", "acid.sdf")),
    ]
    config = PredictConfig(
        checkpoint="", output=str(tmp_path / "out"), input=inputs, task=["property", "fold"],
        properties=["ccd/logp"], num_steps=2,
    )  # fmt: skip
    assert predict_with(engine, config) == 2
    rows = [
        json.loads(line) for line in (tmp_path / "out" / "status.jsonl").read_text().splitlines()
    ]
    assert [row["status"] for row in rows].count("done") == 4
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert "C1CC(=O" in failed["source"]
    written = sorted((tmp_path / "out" / "structures").glob("*.cif"))
    assert len(written) == 4
    (folded,) = [path for path in written if "chain" in path.name]
    record = read_structure(folded).complexes[0]
    assert (record.restype == chain.restype).all()


def test_temperature_zero_designs_the_most_probable_sequence(engine, tmp_path):
    chain = peptide("MKDEFYRLVWGH", name="chain")
    write_mmcif(chain, chain.coords, tmp_path / "chain.cif")
    config = PredictConfig(
        checkpoint="", output=str(tmp_path / "out"), input=str(tmp_path / "chain.cif"),
        task="inverse_folding", temperature=0.0, num_designs=2, design_steps=1,
    )  # fmt: skip
    assert predict_with(engine, config) == 0
    lines = (tmp_path / "out" / "designs.fasta").read_text().splitlines()
    assert len(lines) == 4
    assert lines[1] == lines[3]
    assert len(lines[1]) == 12


@pytest.mark.nightly
def test_two_workers_train_one_network_and_leave_one_report(tmp_path):
    folder = tmp_path / "run"
    done = subprocess.run(
        command(folder, "parallel=local2", "steps=4"),
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = [row["step"] for row in read_metrics(folder / "metrics.jsonl", "train")]
    assert steps == [1, 2, 3, 4], "one process writes"
    assert load(find(folder, "last")).step == 4
    assert json.loads((folder / "results.json").read_text())["ended"] == "steps"
    assert (folder / "report.html").exists()
