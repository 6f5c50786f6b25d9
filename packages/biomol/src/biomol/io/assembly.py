"""Biological assemblies: the operators that turn deposited chains into the functional complex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import gemmi
import numpy as np

from biomol.data.complex import Complex
from biomol.io.records import AssemblyPart, Operator
from scimind.typing import Int


def gemmi_assemblies(
    structure: gemmi.Structure, *, by_author: bool
) -> Mapping[str, tuple[AssemblyPart, ...]]:
    """Assemblies of a structure read by gemmi.

    Args:
        structure: Structure with its assemblies.
        by_author: Chains are named by author (PDB files) instead of ``label_asym_id``.
    """
    return {
        str(assembly.name): tuple(
            AssemblyPart(
                tuple(generator.chains if by_author else generator.subchains),
                tuple(
                    Operator(
                        str(operator.name),
                        np.array(operator.transform.mat.tolist()),
                        np.array(operator.transform.vec.tolist()),
                    )
                    for operator in generator.operators
                ),
            )
            for generator in assembly.generators
        )
        for assembly in structure.assemblies
    }


def expand_assembly(
    unit: Complex, parts: Sequence[AssemblyPart], chain_keys: Sequence[str]
) -> tuple[Complex, Int[np.ndarray, " token"]]:
    """The complex with its chains copied as an assembly says.

    Args:
        unit: Deposited complex.
        parts: Generators of the assembly.
        chain_keys: Name by which the assembly knows each chain of ``unit``.

    Returns:
        The assembly and the token of ``unit`` that each token is a copy of. The k-th copy of
        chain ``A`` is named ``A-k`` for k > 1. Bonds between chains are copied when both chains
        are copied by the same operator.
    """
    arrays: dict[str, list[np.ndarray]] = {}
    names: list[str] = []
    residue_names: list[str] = []
    residue_numbers: list[str] = []
    bonds: list[np.ndarray] = []
    copies: dict[int, int] = {}
    origins: list[np.ndarray] = [np.zeros(0, np.int64)]
    total = 0
    for part in parts:
        chosen = [c for c, key in enumerate(chain_keys) if key in part.chains]
        for operator in part.operators:
            tokens = np.flatnonzero(np.isin(unit.chain_id, chosen))
            moved = unit.coords[tokens] @ operator.rotation.T + operator.translation
            new_chain = {}
            for chain in chosen:
                copies[chain] = copies.get(chain, 0) + 1
                new_chain[chain] = len(names)
                suffix = f"-{copies[chain]}" if copies[chain] > 1 else ""
                names.append(unit.chain_names[chain] + suffix)
            fields = {name: getattr(unit, name)[tokens] for name in _PER_TOKEN}
            fields["coords"] = np.where(unit.coord_mask[tokens][..., None], moved, 0.0).astype(
                np.float32
            )
            fields["chain_id"] = np.array(
                [new_chain[int(c)] for c in unit.chain_id[tokens]], np.int32
            )
            for name, values in fields.items():
                arrays.setdefault(name, []).append(values)
            residue_names += [unit.residue_names[t] for t in tokens]
            residue_numbers += [unit.residue_numbers[t] for t in tokens]
            origins.append(tokens)
            place = np.full(unit.num_tokens, -1)
            place[tokens] = total + np.arange(len(tokens))
            inside = (place[unit.bonds[:, 0]] >= 0) & (place[unit.bonds[:, 2]] >= 0)
            copied = unit.bonds[inside].copy()
            copied[:, 0], copied[:, 2] = place[copied[:, 0]], place[copied[:, 2]]
            bonds.append(copied)
            total += len(tokens)
    origin = np.concatenate(origins)
    if total == 0:
        return _empty(unit), origin
    expanded = replace(
        unit,
        **{name: np.concatenate(values) for name, values in arrays.items()},
        bonds=np.concatenate(bonds),
        chain_names=tuple(names),
        residue_names=tuple(residue_names),
        residue_numbers=tuple(residue_numbers),
    )
    return expanded, origin


def _empty(unit: Complex) -> Complex:
    return replace(
        unit,
        **{name: getattr(unit, name)[:0] for name in _PER_TOKEN},
        bonds=unit.bonds[:0],
        chain_names=(),
        residue_names=(),
        residue_numbers=(),
    )


_PER_TOKEN = (
    "mol_type",
    "restype",
    "res_index",
    "chain_id",
    "entity_id",
    "atom_mask",
    "atom_element",
    "atom_charge",
    "atom_name",
    "ref_pos",
    "coords",
    "coord_mask",
    "chirality",
)
