"""From a data configuration to data sets, training sources and the property vocabulary."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np

from biomol.chem.vocab import MolType
from biomol.config.data import DataConfig
from biomol.data.clusters import related_to_any
from biomol.data.complex import Complex
from biomol.data.component_dictionary import load_component_dictionary
from biomol.data.crop import variable_window, window_crop
from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.folder import load_folder
from biomol.data.datasets.structures import load_structures
from biomol.data.features import BUCKETS, bucket_of
from biomol.data.offsets import mean_offsets
from biomol.data.scaling import PropertyScale
from biomol.data.sources import Source
from biomol.io.rejection import Rejection
from scimind.errors import ConfigError, InputError
from scimind.typing import Float, Int

_log = logging.getLogger(__name__)

STRUCTURES = "structures"
"""Name that `load_folder` gives to the data set of all structure files."""


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

    def offsets(self) -> Float[np.ndarray, "identity slot 3"]:
        """`mean_offsets` of the structures that are trained on."""
        complexes = self.datasets.get("complexes")
        if complexes is None:
            return mean_offsets(())
        return mean_offsets(complexes.records[int(index)] for index in complexes.split.train)


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
        split = dataset.split
        _log.info(
            "%s: %d records (%d train, %d valid, %d test, %s split), %d refused",
            name,
            len(dataset.records),
            *(len(split[part]) for part in ("train", "valid", "test")),
            split.method,
            len(dataset.rejected),
        )
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
    dataset = replace(load_component_dictionary(config.limit or None), name="components")
    prepared.datasets["components"] = dataset
    prepared.rejected.extend(dataset.rejected)
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
                name=name,
                records=dataset.records,
                members=members,
                presets=presets,
                buckets=buckets,
                weight=weight,
            )
        )


def _folder(prepared: Prepared, config: DataConfig) -> None:
    found = load_folder(data_root(config))
    prepared.rejected.extend(found.rejected)
    for dataset in _one_split_per_assay(found.datasets, config.flip_split):
        first = dataset.records[0]
        if dataset.name == STRUCTURES:
            _add_structures(prepared, config, dataset, found.scan.files["structure"])
        elif first.mol_type[0] == MolType.ATOM:
            _add_molecules(prepared, config, dataset)
        else:
            _add_sequences(prepared, config, windowed(dataset))
    _leave_out_relatives(prepared)


def _one_split_per_assay(datasets: Sequence[Dataset], wanted: str) -> list[Dataset]:
    """The data sets without further splits of an assay: they share its test labels."""
    by_assay: dict[str, list[Dataset]] = {}
    for dataset in datasets:
        names = {found.name for found in dataset.properties}
        assay = dataset.name.split("/")[0]
        by_assay.setdefault(assay if names == {assay} else dataset.name, []).append(dataset)
    kept = []
    for assay, choices in by_assay.items():
        chosen = [choice for choice in choices if choice.name == f"{assay}/{wanted}"] or choices
        if len(choices) > 1:
            _log.info("%s: split %s of %d (data.flip_split)", assay, chosen[0].name, len(choices))
        kept.append(chosen[0])
    return kept


def _has_training_part(prepared: Prepared, dataset: Dataset, usable: int) -> bool:
    """Whether anything is left to train on; a data set without is refused with its reason."""
    if usable:
        return True
    sizes = ", ".join(f"{len(dataset.split[part])} {part}" for part in ("train", "valid", "test"))
    message = (
        f"no training record is left ({dataset.split.method} split: {sizes}); molecules of one "
        "scaffold stay together, and molecules above data.molecule_tokens are left out. Mark the "
        "rows train, valid and test in a column `split`"
    )
    _log.warning("%s: %s", dataset.name, message)
    prepared.rejected.append(Rejection(dataset.name, None, "data.no_training_part", message))
    return False


def _add_molecules(prepared: Prepared, config: DataConfig, dataset: Dataset) -> None:
    lengths = np.array([dataset.records[int(i)].num_tokens for i in dataset.split.train], int)
    buckets = tuple(config.molecule_tokens)
    fits = lengths <= buckets[-1]
    if not _has_training_part(prepared, dataset, int(fits.sum())):
        return
    prepared.datasets[dataset.name] = dataset
    if (~fits).any():
        _log.info(
            "%s: %d molecules of more than %d tokens are not trained on",
            dataset.name,
            int((~fits).sum()),
            buckets[-1],
        )
    members = dataset.split.train[fits]
    source = Source(
        name=dataset.name,
        records=dataset.records,
        members=members,
        presets={"sequence": 1.0},
        buckets=buckets if (lengths[fits] <= buckets[0]).any() else buckets[1:],
    )
    prepared.sources.append(source)
    if dataset.records[int(members[0])].coord_mask.any():
        conformers = replace(source, name=f"{dataset.name}/conformers", presets={"fold": 1.0})
        prepared.sources.append(conformers)


def _add_sequences(prepared: Prepared, config: DataConfig, dataset: Dataset) -> None:
    if not _has_training_part(prepared, dataset, len(dataset.split.train)):
        return
    prepared.datasets[dataset.name] = dataset
    lengths = getattr(dataset.records, "num_tokens", None)
    longest = config.crop if lengths is None else int(np.max(lengths))
    prepared.sources.append(
        Source(
            name=dataset.name,
            records=dataset.records,
            members=dataset.split.train,
            presets={"sequence": 1.0},
            buckets=(min(config.crop, bucket_of(min(longest, BUCKETS[-1]))),),
            weight=_sequence_weight(dataset),
        )
    )


def _sequence_weight(dataset: Dataset) -> float:
    """Labelled residues are many, assays are learned slowly, bare sequences teach little."""
    if dataset.labels or dataset.properties:
        return 3.0
    return min(0.5, len(dataset.split.train) / 1000)


def _add_structures(
    prepared: Prepared, config: DataConfig, dataset: Dataset, paths: Sequence[Path]
) -> None:
    prepared.datasets["complexes"] = replace(dataset, name="complexes")
    inverse, side_chains, fold = (
        {name: 1.0} for name in ("inverse_folding", "side_chains", "fold")
    )
    parts = [("complexes/structure", {"fold": 0.4, "side_chains": 0.3, "codesign": 0.3}, 0.3)]
    try:
        chains = load_structures(paths, name="chains", unit="chain")
    except InputError as error:
        _log.info("no single chains are trained on: %s", error.message)
    else:
        prepared.datasets["chains"] = chains
        parts += [
            ("chains/inverse_folding", inverse, 1.5),
            ("chains/side_chains", side_chains, 2.0),
            ("chains/fold", fold, 0.5),
        ]
        if config.overfit:
            prepared.sources.append(_memorised(chains, config))
    for name, presets, weight in parts:
        found = prepared.datasets[name.split("/")[0]]
        prepared.sources.append(
            Source(
                name=name,
                records=found.records,
                members=found.split.train,
                presets=presets,
                buckets=(config.crop,),
                weight=weight,
                crop="contiguous" if presets is inverse else "spatial",
            )
        )


def _memorised(chains: Dataset, config: DataConfig) -> Source:
    """A source of the few chains that an overfitting experiment names."""
    names = {int(index): chains.records[int(index)].name for index in chains.split.train}
    wanted = [index for index, name in names.items() if name in config.overfit]
    missing = sorted(set(config.overfit) - set(names.values()))
    if missing:
        raise ConfigError(
            f"data.overfit names {', '.join(missing)}, which is not in the training part; it has "
            f"{', '.join(sorted(set(names.values())))}"
        )
    longest = max(chains.records[index].num_tokens for index in wanted)
    return Source(
        name="chains/overfit",
        records=chains.records,
        members=wanted,
        presets={"fold": 1.0},
        buckets=(bucket_of(min(longest, config.crop)),),
        weight=2.5,
        max_batch=4,  # of few chains, many copies teach little more than few
    )


def _leave_out_relatives(prepared: Prepared) -> None:
    """Do not train on sequences that are related to held-out chains with structures."""
    chains = prepared.datasets.get("chains")
    if chains is None:
        return
    held_out = [chains.keys[int(i)] for part in ("valid", "test") for i in chains.split[part]]
    for index, source in enumerate(prepared.sources):
        dataset = prepared.datasets.get(source.name)
        if (
            dataset is None
            or dataset.properties
            or dataset.records[0].mol_type[0] != MolType.PROTEIN
        ):
            continue
        members = np.asarray(source.members)
        related = related_to_any([dataset.keys[int(i)] for i in members], held_out)
        if related.any():
            _log.info(
                "%s: %d of %d training sequences are relatives of held-out chains, left out",
                source.name,
                int(related.sum()),
                len(members),
            )
            prepared.sources[index] = replace(source, members=members[~related])
    prepared.sources = [source for source in prepared.sources if len(source.members)]


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
