"""A record padded to a static shape: clean arrays, before anything is hidden or noised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from biomol.chem.vocab import PAD_ID, MolType
from biomol.data.complex import Complex
from scimind.errors import InputError
from scimind.typing import Int

BUCKETS = (32, 64, 96, 128, 192, 256, 384, 512, 768)
"""Token counts that networks are compiled for."""

POLYMER_BOND = 5
"""Bond code of the backbone link between consecutive residues."""

MAX_TOPOLOGICAL_DISTANCE = 8

_POLYMERS = (MolType.PROTEIN, MolType.RNA, MolType.DNA)


def bucket_of(num_tokens: int, buckets: Sequence[int] = BUCKETS) -> int:
    """Smallest bucket that holds a number of tokens.

    Args:
        num_tokens: Tokens of the record.
        buckets: Allowed sizes, ascending.

    Returns:
        The size to pad to.

    Raises:
        InputError: The record is larger than the largest bucket.
    """
    for bucket in buckets:
        if num_tokens <= bucket:
            return bucket
    raise InputError(
        f"{num_tokens} tokens exceed the largest bucket of {buckets[-1]}; crop the record first",
        rule="features.bucket",
    )


def pad(
    record: Complex,
    num_tokens: int,
    properties: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Arrays of one record, padded to ``num_tokens`` tokens N.

    Args:
        record: The record.
        num_tokens: Size to pad to, usually ``bucket_of(record.num_tokens)``.
        properties: Names of the P properties that get a column.
        labels: Names of the L per-token labels that get a column.

    Returns:
        ``token_mask`` (N) bool; ``mol_type``, ``restype``, ``res_index``, ``chain_id``,
        ``entity_id`` (N) int32, padded with 0, ``PAD_ID``, 0, -1 and -1; ``atom_mask`` (N, 24)
        bool; ``atom_element``, ``atom_charge``, ``chirality`` (N, 24) int32; ``ref_pos``,
        ``coords`` (N, 24, 3) float32; ``coord_mask`` (N, 24) bool; ``bond`` and ``topology``
        (N, N) int8, see ``bond_matrix`` and ``topology``; ``prop`` (P) float32 in the units of the
        record and ``prop_mask`` (P) bool; ``token_label`` (N, L) int32, -1 where unknown.

    Raises:
        InputError: The record has more tokens than ``num_tokens``.
    """
    count = record.num_tokens
    if count > num_tokens:
        raise InputError(
            f"{record.name} has {count} tokens, the shape has {num_tokens}; crop it first",
            rule="features.size",
        )

    def fill(values: np.ndarray, dtype: type, empty: int = 0) -> np.ndarray:
        out: np.ndarray = np.full((num_tokens, *values.shape[1:]), empty, dtype)
        out[:count] = values
        return out

    def square(values: np.ndarray) -> np.ndarray:
        out = np.zeros((num_tokens, num_tokens), np.int8)
        out[:count, :count] = values
        return out

    known = np.array([name in record.properties for name in properties], np.bool_)
    value = np.array([record.properties.get(name, 0.0) for name in properties], np.float32)
    token_label = np.full((num_tokens, len(labels)), -1, np.int32)
    for column, name in enumerate(labels):
        if name in record.token_labels:
            token_label[:count, column] = record.token_labels[name]
    return {
        "token_mask": np.arange(num_tokens) < count,
        "mol_type": fill(record.mol_type, np.int32),
        "restype": fill(record.restype, np.int32, PAD_ID),
        "res_index": fill(record.res_index, np.int32),
        "chain_id": fill(record.chain_id, np.int32, -1),
        "entity_id": fill(record.entity_id, np.int32, -1),
        "atom_mask": fill(record.atom_mask, np.bool_),
        "atom_element": fill(record.atom_element, np.int32),
        "atom_charge": fill(record.atom_charge, np.int32),
        "chirality": fill(record.chirality, np.int32),
        "ref_pos": fill(record.ref_pos, np.float32),
        "coords": fill(record.coords, np.float32),
        "coord_mask": fill(record.coord_mask, np.bool_),
        "bond": square(bond_matrix(record)),
        "topology": square(topology(record)),
        "prop": value,
        "prop_mask": known & np.isfinite(value),
        "token_label": token_label,
    }


def bond_matrix(record: Complex) -> Int[np.ndarray, "token token"]:
    """Bonds between tokens.

    Args:
        record: The record.

    Returns:
        Symmetric int8 matrix: 0 none, 1-3 bond order, 4 aromatic, ``POLYMER_BOND`` between
        residues of one polymer chain whose ``res_index`` differs by one. An explicit bond wins
        over the polymer link; bonds within a token are not shown.
    """
    count = record.num_tokens
    bond = np.zeros((count, count), np.int8)
    polymer = np.flatnonzero(np.isin(record.mol_type, [int(kind) for kind in _POLYMERS]))
    here, after = polymer[:-1], polymer[1:]
    linked = (record.chain_id[here] == record.chain_id[after]) & (
        np.abs(record.res_index[after] - record.res_index[here]) == 1
    )
    bond[here[linked], after[linked]] = POLYMER_BOND
    bond[after[linked], here[linked]] = POLYMER_BOND
    i, j, order = record.bonds[:, 0], record.bonds[:, 2], record.bonds[:, 4]
    apart = i != j
    bond[i[apart], j[apart]] = order[apart]
    bond[j[apart], i[apart]] = order[apart]
    return bond


def topology(record: Complex) -> Int[np.ndarray, "token token"]:
    """Number of bonds on the shortest path between atom tokens, over bonds of atom tokens.

    Args:
        record: The record.

    Returns:
        Symmetric int8 matrix with at most ``MAX_TOPOLOGICAL_DISTANCE``; 0 on the diagonal,
        between unconnected tokens and for polymer tokens.
    """
    distance = np.zeros((record.num_tokens, record.num_tokens), np.int8)
    atoms = np.flatnonzero(record.mol_type == MolType.ATOM)
    if len(atoms) == 0 or len(record.bonds) == 0:
        return distance
    place = np.full(record.num_tokens, -1)
    place[atoms] = np.arange(len(atoms))
    pairs = place[record.bonds[:, [0, 2]]]
    pairs = pairs[(pairs >= 0).all(axis=1)]
    distance[np.ix_(atoms, atoms)] = _graph_distance(len(atoms), pairs)
    return distance


def _graph_distance(num_atoms: int, edges: np.ndarray) -> np.ndarray:
    """Breadth-first distances from all atoms at once, one matrix product per step."""
    adjacency = np.zeros((num_atoms, num_atoms), np.float32)
    adjacency[edges[:, 0], edges[:, 1]] = 1
    adjacency[edges[:, 1], edges[:, 0]] = 1
    distance = np.zeros((num_atoms, num_atoms), np.int8)
    reached = np.eye(num_atoms, dtype=np.bool_)
    frontier = reached
    step = 0
    while frontier.any():
        step += 1
        frontier = (frontier.astype(np.float32) @ adjacency > 0) & ~reached
        distance[frontier] = min(step, MAX_TOPOLOGICAL_DISTANCE)
        reached = reached | frontier
    return distance
