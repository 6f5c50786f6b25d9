"""From a data configuration to data sets, training sources and the property vocabulary."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np

from biomol.config.data import DataConfig
from biomol.data.complex import Complex
from biomol.data.component_dictionary import load_component_dictionary
from biomol.data.crop import variable_window, window_crop
from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.flip import load_flip_residues, load_flip_values
from biomol.data.datasets.moleculenet import SOURCES, load_moleculenet
from biomol.data.datasets.structures import load_structures
from biomol.data.datasets.table import load_table
from biomol.data.features import BUCKETS
from biomol.data.scaling import PropertyScale
from biomol.data.sources import Source
from biomol.io.folder import FolderScan, scan
from biomol.io.rejection import Rejection
from scimind.errors import ConfigError, InputError
from scimind.typing import Int

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Prepared:
    """Everything that training and evaluation need to know about the data.

    Attributes:
        datasets: Data sets by name, with all their parts.
        sources: Streams of the training mixture.
        scale: Property and label vocabulary, measured on the training parts.
        rejected: Files and records that were refused, with the reason.
        digests: SHA-256 of the source files by data set.
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    scale: PropertyScale = field(default_factory=PropertyScale)
    rejected: list[Rejection] = field(default_factory=list)

    @property
    def digests(self) -> dict[str, str]:
        """Digest of each data set."""
        return {name: dataset.digest for name, dataset in self.datasets.items()}


@dataclass(frozen=True, eq=False)
class Windowed(Sequence[Complex]):
    """Single-chain records cut to one window when they are asked for."""

    records: Sequence[Complex]
    window: tuple[int, int]

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Complex: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Complex]: ...
    def __getitem__(self, index: int | slice) -> Complex | Sequence[Complex]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return window_crop(self.records[index], self.window)

    @property
    def num_tokens(self) -> Int[np.ndarray, " record"]:
        """Number of tokens of each record."""
        start, stop = self.window
        return np.full(len(self), stop - start)


def windowed(dataset: Dataset) -> Dataset:
    """A deep mutational scan cut to the window in which its training sequences differ.

    Data sets whose sequences differ in length are returned as they are.
    """
    train = [dataset.keys[index] for index in dataset.split.train]
    if not train or len({len(key) for key in dataset.keys}) != 1:
        return dataset
    window = variable_window(train, BUCKETS)
    return replace(dataset, records=Windowed(dataset.records, window))


def prepare(config: DataConfig) -> Prepared:
    """Load the data that a configuration names.

    Splits do not depend on the seed of a run: what is test data stays test data.

    Args:
        config: What to train on.

    Raises:
        InputError: There is no data, or none of it can be used.
    """
    prepared = Prepared()
    if config.kind == "components":
        _components(prepared, config)
    else:
        _folder(prepared, config)
    if not prepared.sources:
        reasons = "; ".join(str(rejection) for rejection in prepared.rejected[:3])
        raise InputError(f"there is nothing to train on: {reasons}", rule="data.nothing")
    _weigh(prepared, config)
    _fit_scale(prepared)
    for name, dataset in prepared.datasets.items():
        prepared.rejected.extend(dataset.rejected)
        split = dataset.split
        _log.info(
            "%s: %d records (%d train, %d valid, %d test, %s split), %d refused",
            name, len(dataset.records), len(split.train), len(split.valid), len(split.test),
            split.method, len(dataset.rejected),
        )  # fmt: skip
    return prepared


def data_root(config: DataConfig) -> Path:
    """Folder of ``data=real``.

    Raises:
        InputError: Neither ``data.root`` nor ``SCIMIND_DATA`` names an existing folder.
    """
    if config.root:
        return Path(config.root)
    parent = os.environ.get("SCIMIND_DATA", "")
    if not parent:
        raise InputError(
            "data=real needs files: set data.root=<folder> (or the environment variable "
            "SCIMIND_DATA); without any, `data=components` trains on data that comes along",
            rule="data.root",
        )
    return Path(parent) / "biomol"


def _components(prepared: Prepared, config: DataConfig) -> None:
    dataset = load_component_dictionary(config.limit or None)
    prepared.datasets["components"] = dataset
    buckets = tuple(config.molecule_tokens)
    lengths = np.asarray([dataset.records[int(i)].num_tokens for i in dataset.split.train])
    members = dataset.split.train[lengths <= buckets[-1]]
    for name, presets, weight in (
        ("components/properties", {"sequence": 1.0}, 1.0),
        ("components/elements", {"inverse_folding": 1.0}, 0.5),
        ("components/conformers", {"fold": 0.85, "codesign": 0.15}, 2.0),
    ):
        prepared.sources.append(
            Source(
                name=name, records=dataset.records, members=members, presets=presets,
                buckets=buckets, weight=weight, crop="contiguous",
            )  # fmt: skip
        )


def _folder(prepared: Prepared, config: DataConfig) -> None:
    found = scan(data_root(config))
    prepared.rejected.extend(found.rejected)
    for kind, add in (
        ("table", _tables),
        ("flip", _flip),
        ("structure", _structures),
    ):
        _log.debug("preparing %s files", kind)
        add(prepared, config, found)


def _attempt(
    prepared: Prepared, path: Path, load: Callable[[], Dataset]
) -> Dataset | None:
    """The data set, or None with its refusal recorded."""
    try:
        return load()
    except InputError as error:
        prepared.rejected.append(Rejection.from_error(error, path=str(path)))
        return None


def _molecule_source(
    prepared: Prepared, config: DataConfig, dataset: Dataset, weight: float
) -> None:
    prepared.datasets[dataset.name] = dataset
    lengths = np.array([dataset.records[int(i)].num_tokens for i in dataset.split.train])
    buckets = tuple(config.molecule_tokens)
    fits = lengths <= buckets[-1]
    if (~fits).any():
        _log.info(
            "%s: %d molecules of more than %d tokens are not trained on",
            dataset.name, int((~fits).sum()), buckets[-1],
        )  # fmt: skip
    used = [size for size in buckets if (lengths[fits] <= size).any()]
    prepared.sources.append(
        Source(
            name=dataset.name, records=dataset.records, members=dataset.split.train[fits],
            presets={"sequence": 1.0}, buckets=tuple(used), weight=weight,
        )  # fmt: skip
    )


def _tables(prepared: Prepared, config: DataConfig, found: FolderScan) -> None:
    for path in found.files["table"]:
        stem = path.name.split(".")[0]
        if stem in SOURCES:
            load = _moleculenet_loader(path.parent, stem)
        else:
            load = _table_loader(path)
        dataset = _attempt(prepared, path, load)
        if dataset is None:
            continue
        if dataset.keys and dataset.records[0].mol_type[0] != 4:
            _sequence_source(prepared, config, windowed(dataset), 1.0)
        else:
            _molecule_source(prepared, config, dataset, 1.0)


def _moleculenet_loader(folder: Path, name: str) -> Callable[[], Dataset]:
    return lambda: load_moleculenet(folder, name)


def _table_loader(path: Path) -> Callable[[], Dataset]:
    return lambda: load_table(path)


def _sequence_source(
    prepared: Prepared, config: DataConfig, dataset: Dataset, weight: float
) -> None:
    prepared.datasets[dataset.name] = dataset
    longest = int(np.max(getattr(dataset.records, "num_tokens", [config.crop])))
    fitting = [size for size in BUCKETS if size >= longest]
    bucket = min(config.crop, fitting[0]) if fitting else config.crop
    prepared.sources.append(
        Source(
            name=dataset.name, records=dataset.records, members=dataset.split.train,
            presets={"sequence": 1.0}, buckets=(bucket,), weight=weight,
        )  # fmt: skip
    )


def _flip(prepared: Prepared, config: DataConfig, found: FolderScan) -> None:
    by_folder: dict[Path, list[Path]] = {}
    for path in found.flip_values:
        by_folder.setdefault(path.parent, []).append(path)
    for folder, paths in by_folder.items():
        chosen = [path for path in paths if path.name.split(".")[0] == config.flip_split]
        path = (chosen or sorted(paths))[0]
        name = folder.name.removeprefix("flip_")
        if len(paths) > 1:
            _log.info("%s: split %s of %d (data.flip_split)", name, path.name, len(paths))
        dataset = _attempt(prepared, path, lambda path=path, name=name: load_flip_values(path, name))
        if dataset is not None:
            _sequence_source(prepared, config, windowed(dataset), 1.0)
    for folder in found.flip_residues:
        name = folder.name.removeprefix("flip_")
        dataset = _attempt(
            prepared, folder, lambda folder=folder, name=name: load_flip_residues(folder, name=name)
        )
        if dataset is not None:
            _sequence_source(prepared, config, dataset, 1.5)


def _structures(prepared: Prepared, config: DataConfig, found: FolderScan) -> None:
    paths = found.files["structure"]
    if not paths:
        return
    chains = _attempt(
        prepared,
        found.root,
        lambda: load_structures(paths, name="chains", unit="chain"),
    )
    complexes = _attempt(
        prepared,
        found.root,
        lambda: load_structures(paths, name="complexes"),
    )
    for dataset, crop, presets in (
        (chains, "contiguous", {"inverse_folding": 1.0}),
        (chains, "spatial", {"fold": 0.35, "side_chains": 0.65}),
        (complexes, "spatial", {"fold": 0.4, "side_chains": 0.3, "codesign": 0.3}),
    ):
        if dataset is None:
            continue
        prepared.datasets[dataset.name] = dataset
        kind = "inverse_folding" if "inverse_folding" in presets else "structure"
        weight = {"chains/inverse_folding": 3.0, "chains/structure": 2.0}.get(
            f"{dataset.name}/{kind}", 0.5
        )
        prepared.sources.append(
            Source(
                name=f"{dataset.name}/{kind}", records=dataset.records,
                members=dataset.split.train, presets=presets, buckets=(config.crop,),
                weight=weight, crop=crop,
            )  # fmt: skip
        )
    if chains is not None and config.overfit:
        wanted = [
            int(index)
            for index in chains.split.train
            if chains.records[int(index)].name in config.overfit
        ]
        known = sorted({chains.records[int(index)].name for index in chains.split.train})
        if len(wanted) < len(config.overfit):
            raise ConfigError(
                f"data.overfit={config.overfit} names chains that are not in the training part; "
                f"it has {', '.join(known)}"
            )
        prepared.sources.append(
            Source(
                name="chains/overfit", records=chains.records, members=wanted,
                presets={"fold": 1.0}, buckets=(config.crop,), weight=1.0, crop="contiguous",
            )  # fmt: skip
        )


def _weigh(prepared: Prepared, config: DataConfig) -> None:
    names = [source.name for source in prepared.sources]
    unknown = sorted(set(config.weights) - set(names))
    if unknown:
        raise ConfigError(
            f"data.weights names {', '.join(unknown)}; the sources are {', '.join(names)}"
        )
    prepared.sources = [
        replace(source, weight=config.weights.get(source.name, source.weight))
        for source in prepared.sources
    ]


def _fit_scale(prepared: Prepared) -> None:
    names: list[str] = []
    binary: list[str] = []
    units: dict[str, str] = {}
    labels: dict[str, int] = {}
    records: list[Complex] = []
    for dataset in prepared.datasets.values():
        for found in dataset.properties:
            names.append(found.name)
            units[found.name] = found.unit
            if found.kind == "binary":
                binary.append(found.name)
        for label in dataset.labels:
            labels[label.name] = len(label.classes)
        if dataset.properties:
            records.extend(dataset.records[int(index)] for index in dataset.split.train)
    prepared.scale = PropertyScale.fit(
        records, names=names, binary=binary, units=units, labels=labels
    )
