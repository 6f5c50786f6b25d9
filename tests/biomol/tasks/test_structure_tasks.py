"""Structure tasks: what the model may see, and the baselines on real chains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from biomol.chem.geometry import dihedral, to_local, token_frames
from biomol.chem.vocab import TOKEN_ID, TOKENS
from biomol.data.complex import Complex
from biomol.data.offsets import mean_offsets
from biomol.io.structure import read_structure
from biomol.metrics.lddt import ca_lddt
from biomol.metrics.side_chains import side_chain_mask
from biomol.tasks.baselines.backbone import extended_trace, helix_trace
from biomol.tasks.baselines.engine import AverageEngine
from biomol.tasks.baselines.rotamers import Rotamers
from biomol.tasks.baselines.sequence import geometry_bins
from biomol.tasks.baselines.torsions import BackboneDependent, backbone_torsions
from biomol.tasks.chains import backbone_only, sequence_only, without_side_chains
from biomol.tasks.inverse_folding import InverseFolding
from biomol.tasks.inverse_folding_file import InverseFoldingFile, read_backbones
from biomol.tasks.side_chains import SideChains
from biomol.tasks.structure import StructureFromSequence
from scimind.errors import InputError
from scimind.eval import ModelFacts, run

FACTS = ModelFacts(model="averages", parameters=0)
FILES = ("1ubq", "1pga", "1shf", "1l63", "2lzm", "1iro", "1cyo", "1ycc", "4lyz", "1lz1", "1a2p",
         "2afg", "1aki", "1onc", "5cro", "1ihb", "1rro", "1msi", "1mgr", "1frd")  # fmt: skip


@pytest.fixture(scope="module")
def ubiquitin(real_data: Path) -> Complex:
    record = read_structure(real_data / "biomol/structures/protein/1ubq.pdb").complexes[0]
    from biomol.tasks.chains import standard_residues

    return standard_residues(record)


@pytest.fixture(scope="module")
def few_structures(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty real files: the whole set takes longer and is scored by the nightly run."""
    folder = tmp_path_factory.mktemp("structures")
    source = real_data / "biomol/structures/protein"
    for name in FILES:
        found = next(source.glob(f"{name}.*"))
        (folder / found.name).symlink_to(found)
    return folder


@pytest.fixture(scope="module")
def engine(few_structures: Path) -> AverageEngine:
    data = SideChains().load(few_structures)
    return AverageEngine.fit([item.target for item in data.training])


def test_inverse_folding_inputs_hold_nothing_of_the_sequence(ubiquitin: Complex) -> None:
    shuffled = np.random.default_rng(0).permutation(ubiquitin.num_tokens)
    other = replace(
        ubiquitin,
        restype=ubiquitin.restype[shuffled],
        residue_names=tuple(ubiquitin.residue_names[i] for i in shuffled),
        atom_mask=ubiquitin.atom_mask[shuffled] | ubiquitin.coord_mask,
        atom_name=ubiquitin.atom_name[shuffled],
        ref_pos=ubiquitin.ref_pos[shuffled],
    )
    first, second = backbone_only(ubiquitin), backbone_only(other)
    assert set(first.restype.tolist()) == {TOKEN_ID["UNK"]}
    for name in vars(first):
        a, b = getattr(first, name), getattr(second, name)
        equal = np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        assert equal, f"{name} tells sequences apart"
    assert not first.coord_mask[:, 4:].any()
    np.testing.assert_array_equal(first.coords[:, :4], ubiquitin.coords[:, :4])


def test_structure_inputs_hold_no_position(ubiquitin: Complex) -> None:
    blind = sequence_only(ubiquitin)
    assert not blind.coords.any()
    assert not blind.coord_mask.any()
    sides = without_side_chains(ubiquitin)
    assert not sides.coords[:, 4:].any()
    assert sides.coord_mask[:, :4].sum() == ubiquitin.coord_mask[:, :4].sum()


def test_ideal_traces_have_the_geometry_of_proteins() -> None:
    for trace, step, rise in ((helix_trace(20), 3.8, 1.5), (extended_trace(20), 3.85, 3.4)):
        distances = np.linalg.norm(np.diff(trace, axis=0), axis=1)
        np.testing.assert_allclose(distances, step, atol=0.1)
        assert trace[-1, 2] == pytest.approx(19 * rise)
    # A helix turns to the right: its CA torsion is about +50 degrees.
    assert np.degrees(dihedral(*helix_trace(4))) == pytest.approx(50.0, abs=3.0)
    assert ca_lddt(helix_trace(30), helix_trace(30)[::-1].copy()) == pytest.approx(1.0)


def test_rotamers_of_one_residue_put_it_back_exactly(ubiquitin: Complex) -> None:
    wanted = side_chain_mask(ubiquitin.mol_type, ubiquitin.coord_mask)
    tryptophan_like = ubiquitin.restype == TOKEN_ID["TYR"]
    assert tryptophan_like.sum() == 1
    for most_common in (False, True):
        rotamers = Rotamers.fit([ubiquitin], most_common=most_common)
        coords, placed = rotamers.place(without_side_chains(ubiquitin), wanted)
        assert placed[wanted].all()
        np.testing.assert_allclose(
            coords[tryptophan_like], ubiquitin.coords[tryptophan_like], atol=1e-3
        )


def test_side_chains_at_their_torsions_lie_between_their_own_kind_and_the_type(
    ubiquitin: Complex,
) -> None:
    library = BackboneDependent.fit([ubiquitin])
    turn = Rotation.random(random_state=2).as_matrix().astype(np.float32)
    moved = replace(ubiquitin, coords=(ubiquitin.coords @ turn.T + 5.0).astype(np.float32))
    local = library.expected(moved)
    np.testing.assert_allclose(local, library.expected(ubiquitin), atol=1e-3)
    # residues with the torsions of no other of their type lean towards themselves
    frames, framed = token_frames(ubiquitin.coords, ubiquitin.coord_mask)
    true = to_local(frames, ubiquitin.coords[:, 1], ubiquitin.coords)
    side = side_chain_mask(ubiquitin.mol_type, ubiquitin.coord_mask) & framed[:, None]
    off = {
        name: np.sqrt((((guess - true) ** 2).sum(-1))[side].mean())
        for name, guess in (
            ("torsions", local),
            ("type", mean_offsets([ubiquitin])[ubiquitin.restype]),
        )
    }
    assert off["torsions"] < 0.95 * off["type"]


def test_backbone_torsions_of_a_helix_and_of_chain_ends(ubiquitin: Complex) -> None:
    torsions = backbone_torsions(ubiquitin)
    assert np.isnan(torsions[[0, -1]]).all()
    helix = torsions[23:33]  # residues 24 to 33 of ubiquitin: Vijay-Kumar et al. (1987)
    np.testing.assert_allclose(helix.mean(axis=0), [-63.0, -42.0], atol=6.0)


def test_geometry_bins_do_not_depend_on_the_pose_or_the_sequence(ubiquitin: Complex) -> None:
    turn = Rotation.random(random_state=1).as_matrix().astype(np.float32)
    moved = replace(ubiquitin, coords=(ubiquitin.coords @ turn.T + 3.0).astype(np.float32))
    assert np.mean(geometry_bins(moved) == geometry_bins(ubiquitin)) > 0.97
    np.testing.assert_array_equal(geometry_bins(backbone_only(ubiquitin)), geometry_bins(ubiquitin))


def test_inverse_folding_ranks_its_baselines(few_structures: Path, engine: AverageEngine) -> None:
    task = InverseFolding()
    evaluation = run(task, engine, few_structures, FACTS, resamples=100)
    result = evaluation.result
    trivial, classical = result.baselines
    assert result.items >= 2
    for score in ("recovery", "perplexity"):
        value = trivial.metrics[score].value
        assert value == pytest.approx(result.metrics[score].value, rel=0.05)
    assert 0.03 < float(trivial.metrics["recovery"].value or 0) < 0.15
    assert 15.0 < float(trivial.metrics["perplexity"].value or 0) < 20.0
    assert float(classical.metrics["perplexity"].value or 99) < float(
        trivial.metrics["perplexity"].value or 0
    )


def test_no_test_chain_is_a_training_chain(few_structures: Path) -> None:
    data = InverseFolding().load(few_structures)
    letters = [
        {tuple(item.target.restype.tolist()) for item in items}
        for items in (data.training, data.items)
    ]
    assert not letters[0] & letters[1]
    clusters = [{item.cluster for item in items} for items in (data.training, data.items)]
    assert not clusters[0] & clusters[1]


def test_side_chains_of_the_averages_engine_score_as_the_mean_baseline(
    few_structures: Path, engine: AverageEngine
) -> None:
    task = SideChains()
    result = run(task, engine, few_structures, FACTS, resamples=100).result
    mean, rotamer, at_torsions = result.baselines
    value = float(mean.metrics["side_chain_rmsd"].value or 0)
    assert result.metrics["side_chain_rmsd"].value == pytest.approx(value, rel=1e-3)
    assert 1.5 < value < 2.2
    assert float(rotamer.metrics["side_chain_rmsd"].value or 0) > value
    assert float(rotamer.metrics["chi1_accuracy"].value or 0) > 0.4
    assert 1.4 < float(at_torsions.metrics["side_chain_rmsd"].value or 0) < value


def test_the_native_structure_is_a_perfect_answer(few_structures: Path) -> None:
    class Oracle(AverageEngine):
        """Gives the true positions in another frame: every score must see through that."""

        truth: dict[tuple[int, ...], Complex]

        def structures(self, complexes, given, *, seed, num_steps, num_samples=1, noise=1.0):  # type: ignore[no-untyped-def]
            turn = Rotation.random(random_state=3).as_matrix()
            free = [not mask.any() for mask in given]
            found = []
            for record, loose in zip(complexes, free, strict=True):
                true = self.truth[tuple(record.restype.tolist())].coords
                moved = (true @ turn.T + 5.0) if loose else true
                found.append(np.where(true == 0.0, 0.0, moved).astype(np.float32)[None])
            return found

    for task, scores in (
        (StructureFromSequence(), {"ca_lddt": 1.0, "lddt": 1.0, "tm_score": 1.0, "ca_rmsd": 0.0}),
        (SideChains(), {"side_chain_rmsd": 0.0, "chi1_accuracy": 1.0, "chi12_accuracy": 1.0}),
    ):
        data = task.load(few_structures)
        oracle = Oracle({}, {}, {}, Rotamers({}))
        oracle.__dict__["truth"] = {
            tuple(item.target.restype.tolist()): item.target for item in data.items
        }
        result = run(task, oracle, few_structures, FACTS, data=data, resamples=100).result
        for name, value in scores.items():
            assert result.metrics[name].value == pytest.approx(value, abs=2e-3), name


def test_structure_baselines_are_as_poor_as_they_are(
    few_structures: Path, engine: AverageEngine
) -> None:
    result = run(StructureFromSequence(), engine, few_structures, FACTS, resamples=100).result
    by_name = {row.name: row.metrics["ca_lddt"].value for row in result.baselines}
    helix, strand = by_name["one ideal helix"], by_name["one extended strand"]
    assert helix is not None
    assert strand is not None
    assert 0.05 < strand < helix < 0.35


def test_named_chains_are_scored_as_what_they_are(few_structures: Path) -> None:
    task = StructureFromSequence(chains=["1ubq", "1pga:A"])
    data = task.load(few_structures)
    assert [item.name for item in data.items] == ["1ubq", "1pga:A"]
    assert task.name == "structure_overfit"
    assert "training chains" in task.split
    with pytest.raises(InputError, match="1xyz"):
        StructureFromSequence(chains=["1xyz:A"]).load(few_structures)


def test_the_ts50_sample_is_read(real_data: Path) -> None:
    path = real_data / "biomol/benchmarks/inverse_folding/ts50_format_sample.json"
    items, rejected = read_backbones(path)
    entries = json.loads(path.read_text())
    assert (len(items), rejected) == (3, [])
    for item, entry in zip(items, entries, strict=True):
        letters = "".join("ARNDCQEGHILKMFPSTWYV"[t - TOKEN_ID["ALA"]] for t in item.target.restype)
        assert letters == entry["seq"]
        assert item.inputs.coord_mask.any()
        assert {TOKENS[t] for t in item.inputs.restype} == {"UNK"}


def test_cath_entries_and_broken_ones_are_told_apart(tmp_path: Path) -> None:
    nan = float("nan")
    good = {
        "name": "1abc.A",
        "seq": "MKV",
        "coords": {
            atom: [[i, k, 0.0] for k in range(3)] for i, atom in enumerate(("N", "CA", "C", "O"))
        },
    }
    gap = {"name": "gap", "seq": "MK", "coords": [[[0, 0, 0]] * 4, [[nan, nan, nan]] * 4]}
    broken = [
        {"name": "short", "seq": "MKV", "coords": [[[0, 0, 0]] * 4]},
        {"name": "letters", "seq": "M1", "coords": [[[0, 0, 0]] * 4] * 2},
        {"name": "1abc.A", "seq": "M", "coords": [[[0, 0, 0]] * 4]},
        {"seq": "M", "coords": [[[0, 0, 0]] * 4]},
    ]
    path = tmp_path / "chain_set.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in [good, gap, *broken]))
    items, rejected = read_backbones(path)
    assert [item.name for item in items] == ["1abc.A", "gap"]
    assert items[1].target.coord_mask.any(axis=1).tolist() == [True, False]
    np.testing.assert_array_equal(items[0].target.coords[2, :4, 0], [0, 1, 2, 3])
    assert len(rejected) == 4
    bad = tmp_path / "bad.json"
    bad.write_text('[{"name": ')
    with pytest.raises(InputError, match="no JSON"):
        read_backbones(bad)


def test_a_file_of_backbones_is_a_task(
    real_data: Path, few_structures: Path, engine: AverageEngine, tmp_path: Path
) -> None:
    path = real_data / "biomol/benchmarks/inverse_folding/ts50_format_sample.json"
    result = run(InverseFoldingFile(path), engine, few_structures, FACTS, resamples=100).result
    assert result.items == 3
    name = json.loads(path.read_text())[1]["name"]
    splits = tmp_path / "chain_set_splits.json"
    splits.write_text(json.dumps({"train": [], "test": [name]}))
    data = InverseFoldingFile(path, splits).load(few_structures)
    assert [item.name for item in data.items] == [name]
