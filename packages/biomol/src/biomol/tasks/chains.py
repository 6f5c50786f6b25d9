"""The protein chains that the structure tasks are scored on, and those they may learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biomol.chem.vocab import BACKBONE_SLOTS, NUM_SLOTS, TOKEN_ID, UNKNOWN_PROTEIN, MolType
from biomol.data.complex import Complex
from biomol.data.crop import select_tokens
from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.structures import load_structures
from biomol.io.fasta import complex_from_sequence
from biomol.io.folder import scan
from biomol.tasks.records import data_folder, failures
from scimind.errors import InputError
from scimind.eval import Item, TaskData
from scimind.typing import Bool

SPLIT = "sequence-cluster test (30 % identity, 80/10/10 of the files)"
NUM_BACKBONE = BACKBONE_SLOTS[MolType.PROTEIN]

_datasets: dict[tuple[Path, int], Dataset] = {}


def protein_chains(data_root: Path, seed: int = 0) -> Dataset:
    """Distinct protein chains of the structure files, split by sequence cluster.

    Reading and clustering take about a minute for a hundred files; the result is kept for
    the tasks that follow in the same process.

    Args:
        data_root: Data folder, or any folder of structure files.
        seed: Seed of the split; that of training is 0 by default too.
    """
    folder = data_folder(data_root).resolve()
    key = (folder, seed)
    if key not in _datasets:
        paths = scan(folder).files["structure"]
        _datasets[key] = load_structures(paths, unit="chain", seed=seed)
    return _datasets[key]


def standard_residues(record: Complex) -> Complex:
    """The standard protein residues of a chain; atoms of modified residues are left out."""
    tokens = np.flatnonzero(record.mol_type == MolType.PROTEIN)
    return select_tokens(record, tokens) if len(tokens) < record.num_tokens else record


def chain_data(
    dataset: Dataset,
    inputs: Callable[[Complex], Any],
    *,
    max_tokens: int,
) -> TaskData:
    """Items of a data set of chains; the target is the record itself.

    Args:
        dataset: Chains with their split.
        inputs: What the model may see of a chain.
        max_tokens: Longer test chains are left out and listed as rejected.
    """
    rejected = list(failures(dataset.rejected))

    def items(part: str) -> tuple[Item, ...]:
        found = []
        for index in dataset.split[part]:
            record = standard_residues(dataset.records[int(index)])
            name = f"{index}:{record.name}:{chain_label(record)}"
            if part == "test" and record.num_tokens > max_tokens:
                rejected.extend(failures([_too_long(record, name, max_tokens)]))
                continue
            cluster = dataset.split.groups[index] if dataset.split.groups else None
            found.append(Item(name=name, inputs=inputs(record), target=record, cluster=cluster))
        return tuple(found)

    test = items("test")
    return TaskData(
        items=test,
        training=items("train"),
        validation=items("valid"),
        digest=dataset.digest,
        rejected=tuple(rejected),
    )


def _too_long(record: Complex, name: str, limit: int) -> Any:
    from biomol.io.rejection import Rejection

    return Rejection(
        name, None, "task.length", f"the chain has {record.num_tokens} residues, limit {limit}"
    )


def chain_label(record: Complex) -> str:
    """Name of the chain in its file."""
    return record.chain_names[int(record.chain_id[0])] if record.chain_names else ""


def named_chains(dataset: Dataset, names: Sequence[str]) -> list[Complex]:
    """Chains by ``file`` or ``file:chain``, wherever the split has put them.

    Raises:
        InputError: There is no such chain.
    """
    by_name: dict[str, Complex] = {}
    for index in range(len(dataset.records)):
        record = standard_residues(dataset.records[index])
        by_name.setdefault(record.name, record)
        by_name[f"{record.name}:{chain_label(record)}"] = record
    missing = [name for name in names if name not in by_name]
    if missing:
        raise InputError(
            f"there is no chain {missing[0]!r}; write file:chain, such as "
            f"{next(iter(sorted(by_name)), 'none')!r}",
            rule="task.chain",
        )
    return [by_name[name] for name in names]


def sequence_only(record: Complex) -> Complex:
    """The chain as it looks when only its letters are known: no positions at all."""
    return replace(
        record,
        coords=np.zeros_like(record.coords),
        coord_mask=np.zeros_like(record.coord_mask),
        properties={},
        token_labels={},
    )


def backbone_only(record: Complex) -> Complex:
    """The chain with backbone positions and without identities.

    Nothing of the native sequence is left: identities and names are those of the unknown residue
    and only N, CA, C and O exist.
    """
    unknown = complex_from_sequence("X" * record.num_tokens, MolType.PROTEIN, record.name)
    backbone = np.arange(NUM_SLOTS) < NUM_BACKBONE
    known = record.coord_mask & backbone
    return replace(
        record,
        restype=np.full_like(record.restype, TOKEN_ID[UNKNOWN_PROTEIN]),
        atom_mask=unknown.atom_mask & backbone,
        atom_element=np.where(backbone, unknown.atom_element, 0),
        atom_charge=np.zeros_like(record.atom_charge),
        atom_name=np.where(backbone, unknown.atom_name, ""),
        ref_pos=unknown.ref_pos,
        coords=np.where(known[..., None], record.coords, np.float32(0.0)),
        coord_mask=known,
        chirality=unknown.chirality,
        residue_names=unknown.residue_names,
        properties={},
        token_labels={},
    )


def without_side_chains(record: Complex) -> Complex:
    """The chain with its identities, and positions of the backbone only."""
    known = record.coord_mask & (np.arange(NUM_SLOTS) < NUM_BACKBONE)
    return replace(
        record,
        coords=np.where(known[..., None], record.coords, np.float32(0.0)),
        coord_mask=known,
        properties={},
        token_labels={},
    )


def complete_backbone(record: Complex) -> Bool[np.ndarray, " token"]:
    """Tokens whose frame (N, CA, C) is resolved."""
    return np.asarray(record.coord_mask[:, :3].all(axis=1))
