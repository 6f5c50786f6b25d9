"""From a configuration to data sets, sources and the property vocabulary."""

import socket
from pathlib import Path

import numpy as np
import pytest

from biomol.config.data import DataConfig
from biomol.data.clusters import related_to_any
from biomol.data.preparation import Prepared, data_root, prepare
from biomol.data.sources import stream
from scimind.data import FailureLog, Shard
from scimind.errors import ConfigError, InputError


@pytest.fixture(scope="module")
def components(tmp_path_factory):
    """The data that come along, from a cold cache and without a network."""

    def offline(*_, **__):
        raise AssertionError("preparing the component dictionary opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIMIND_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(socket.socket, "connect", offline)
        prepared = prepare(DataConfig(limit=60))
        again = prepare(DataConfig(limit=60))
    return prepared, again


def test_the_component_dictionary_gives_all_three_tracks(components):
    prepared, _ = components
    assert isinstance(prepared, Prepared)
    assert {source.tracks for source in prepared.sources} == {"sequence", "geometry", "structure"}
    assert len(prepared.datasets["components"].records) == 60
    assert all(source.weight > 0 for source in prepared.sources)


def test_a_warm_cache_gives_the_same_data(components):
    first, again = (prepared.datasets["components"] for prepared in components)
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(first.split[part], again.split[part])
    assert components[0].scale == components[1].scale
    for a, b in zip(first.records, again.records, strict=True):
        np.testing.assert_array_equal(a.coords, b.coords)
        np.testing.assert_array_equal(a.restype, b.restype)


def test_sources_train_on_the_training_part_only(components):
    prepared, _ = components
    split = prepared.datasets["components"].split
    for source in prepared.sources:
        members = {int(member) for member in source.members}
        assert members <= {int(index) for index in split.train}
        assert members
        assert all(source.records[m].num_tokens <= source.buckets[-1] for m in members)


def test_the_scale_is_measured_on_the_training_part(components):
    prepared, _ = components
    dataset, scale = prepared.datasets["components"], prepared.scale
    column = scale.names.index("ccd/logp")
    train = dataset.values("ccd/logp")[dataset.split.train]
    assert scale.mean[column] == pytest.approx(train.mean())
    assert scale.std[column] == pytest.approx(train.std())
    for name in scale.binary:
        column = scale.names.index(name)
        assert (scale.mean[column], scale.std[column]) == (0.0, 1.0)


def test_every_source_makes_batches(components):
    prepared, _ = components
    for source in prepared.sources:
        failures = FailureLog()
        batch = stream(
            source, prepared.scale, seed=0, max_batch=4, max_pairs=10**5, shard=Shard(0, 1),
            failures=failures,
        ).batch(0)  # fmt: skip
        assert batch[0] == source.tracks
        assert all(np.isfinite(array).all() for array in batch[1:])
        assert not failures.failures


def test_unknown_sources_are_named_with_the_known_ones(components, monkeypatch, tmp_path):
    monkeypatch.setenv("SCIMIND_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="components/properties"):
        prepare(DataConfig(limit=20, weights={"chains": 1.0}))


def test_real_data_need_a_folder(monkeypatch):
    monkeypatch.delenv("SCIMIND_DATA", raising=False)
    with pytest.raises(InputError, match=r"data\.root"):
        data_root(DataConfig(kind="real"))


def test_a_folder_without_usable_files_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError):
        prepare(DataConfig(kind="real", root=str(tmp_path)))


def test_a_table_of_ones_own_becomes_a_source_and_a_property(tmp_path):
    rings = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "c1ccsc1", "C1CCNCC1", "c1ccoc1", "C1CC1")
    rows = "".join(f"{ring}{'C' * n},{n * 0.5}\n" for ring in rings for n in range(1, 6))
    (tmp_path / "mine.csv").write_text("smiles,boiling\n" + rows)
    prepared = prepare(DataConfig(kind="real", root=str(tmp_path)))
    assert prepared.scale.names == ("mine/boiling",)
    (source,) = prepared.sources
    assert source.tracks == "sequence"
    assert set(prepared.digests) == {"mine"}


def test_a_table_of_one_scaffold_is_split_at_random(tmp_path):
    rows = "".join(f"c1ccccc1{'C' * n},{n * 0.5}\n" for n in range(1, 21))
    (tmp_path / "mine.csv").write_text("smiles,boiling\n" + rows)
    prepared = prepare(DataConfig(kind="real", root=str(tmp_path)))
    split = prepared.datasets["mine"].split
    assert split.method == "random"
    assert [len(split[part]) for part in ("train", "valid", "test")] == [16, 2, 2]


def test_a_table_without_training_rows_is_refused_with_its_split(tmp_path):
    rows = "".join(f"CC{'C' * n},{n * 0.5},test\n" for n in range(1, 21))
    (tmp_path / "mine.csv").write_text("smiles,boiling,split\n" + rows)
    with pytest.raises(InputError, match="0 train, 0 valid, 20 test"):
        prepare(DataConfig(kind="real", root=str(tmp_path)))


def test_a_table_of_molecules_above_the_largest_shape_is_refused(tmp_path):
    rows = "".join(
        f"{'C' * (n + 30)},{n * 0.5},{part}\n"
        for n, part in enumerate(["train"] * 8 + ["valid", "test"])
    )
    (tmp_path / "mine.csv").write_text("smiles,boiling,split\n" + rows)
    with pytest.raises(InputError, match="molecule_tokens"):
        prepare(DataConfig(kind="real", root=str(tmp_path), molecule_tokens=[16]))


@pytest.fixture(scope="module")
def real(real_data: Path) -> Prepared:
    return prepare(DataConfig(kind="real", root=str(real_data / "biomol")))


@pytest.mark.nightly
def test_no_training_chain_is_related_to_a_held_out_chain(real: Prepared):
    chains = real.datasets["chains"]
    held_out = [chains.keys[int(i)] for part in ("valid", "test") for i in chains.split[part]]
    checked = 0
    for source in real.sources:
        dataset = real.datasets.get(source.name.split("/")[0])
        if dataset is None or dataset.properties or not dataset.keys:
            continue
        keys = [dataset.keys[int(member)] for member in source.members]
        if not all(key.isalpha() and key.isupper() for key in keys):
            continue
        related = related_to_any(keys, held_out)
        assert not related.any(), (
            f"{source.name}: {int(related.sum())} relatives of held-out chains"
        )
        checked += 1
    assert checked >= 2, [source.name for source in real.sources]


@pytest.mark.nightly
def test_held_out_records_are_in_no_source(real: Prepared):
    for source in real.sources:
        dataset = next(
            dataset
            for name, dataset in real.datasets.items()
            if source.name == name or source.name.startswith(f"{name}/")
        )
        held_out = {int(i) for part in ("valid", "test") for i in dataset.split[part]}
        assert not held_out & {int(member) for member in source.members}, source.name
