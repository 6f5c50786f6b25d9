"""Bonds, chirality and a reference conformer of a molecule of which only positions are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from biomol.chem.ccd import AROMATIC, Component
from scimind.typing import Float, Int

_TOLERANCE_ANGSTROM = 0.4
_MIN_DISTANCE_ANGSTROM = 0.6
MAX_BOND_ANGSTROM = 2.6
"""Longest plausible bond between two atoms of one component, metals included."""
_EMBEDDING_SEED = 2024


UNKNOWN_TYPE = "perceived"
"""``Component.type`` of a component that was made from positions."""


def covalent_radius(number: int) -> float:
    """Covalent radius of an element in angstrom (Cordero et al. 2008)."""
    return float(gemmi.Element(int(number)).covalent_r)


def bonds_by_distance(
    elements: Int[np.ndarray, " atom"], xyz: Float[np.ndarray, "atom 3"]
) -> Int[np.ndarray, "bond 3"]:
    """Atoms closer than the sum of their covalent radii plus 0.4 angstrom are bonded.

    Args:
        elements: Atomic numbers.
        xyz: Positions in angstrom.

    Returns:
        ``(i, j, 1)`` with i < j; orders cannot be told from distances without hydrogens.
    """
    if len(elements) < 2:
        return np.zeros((0, 3), np.int32)
    radii = np.array([covalent_radius(e) for e in elements.tolist()])
    tree = cKDTree(xyz)
    pairs = tree.query_pairs(2 * radii.max() + _TOLERANCE_ANGSTROM, output_type="ndarray")
    distance = np.linalg.norm(xyz[pairs[:, 0]] - xyz[pairs[:, 1]], axis=1)
    limit = radii[pairs[:, 0]] + radii[pairs[:, 1]] + _TOLERANCE_ANGSTROM
    hydrogens = (elements[pairs] == 1).all(axis=1)
    bonded = (distance < limit) & (distance > _MIN_DISTANCE_ANGSTROM) & ~hydrogens
    pairs = np.sort(pairs[bonded], axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    bonds: np.ndarray = np.pad(pairs, ((0, 0), (0, 1)), constant_values=1).astype(np.int32)
    return bonds


def perceive_component(
    code: str,
    names: Sequence[str],
    elements: Int[np.ndarray, " atom"],
    charges: Int[np.ndarray, " atom"],
    xyz: Float[np.ndarray, "atom 3"],
    contacts: Mapping[tuple[int, int], int] | None = None,
    template: Component | None = None,
) -> Component:
    """A component made from atoms with positions.

    Args:
        code: Name for the component.
        names: Unique atom names.
        elements: Atomic numbers.
        charges: Formal charges.
        xyz: Positions in angstrom.
        contacts: Bonds that the file declares, ``(i, j) -> order``; those of plausible length
            are added to the bonds found from distances.
        template: Component that it may be under other atom names; if the graphs agree, its bond
            orders, charges, stereochemistry and conformer are taken.

    Returns:
        The component. Its reference conformer is embedded from the bonds, never copied from the
        positions, so that the structure does not leak into the input of a prediction; where the
        embedding fails ``has_positions`` is false and the conformer is zero.
    """
    elements = np.asarray(elements, np.int32)
    orders = {(i, j): order for i, j, order in bonds_by_distance(elements, xyz).tolist()}
    for (i, j), order in (contacts or {}).items():
        if np.linalg.norm(xyz[i] - xyz[j]) < MAX_BOND_ANGSTROM:
            orders[min(i, j), max(i, j)] = order
    bonds = np.array([(*pair, orders[pair]) for pair in sorted(orders)], np.int32).reshape(-1, 3)
    if template is not None:
        match = _isomorphism(template, elements, bonds)
        if match is not None:
            return replace(
                template,
                atom_names=tuple(names[i] for i in match),
                alt_names=tuple(names[i] for i in match),
            )
    positions, embedded = _embed(elements, bonds)
    return Component(
        code=code,
        name=code,
        type=UNKNOWN_TYPE,
        parent="",
        replaced_by="",
        atom_names=tuple(names),
        alt_names=tuple(names),
        elements=elements,
        charges=np.asarray(charges, np.int32),
        positions=positions,
        has_positions=embedded,
        leaving=np.zeros(len(names), bool),
        chirality=chirality_from_positions(elements, charges, bonds, xyz),
        bonds=bonds,
        kekule_orders=np.where(bonds[:, 2] == AROMATIC, 1, bonds[:, 2]).astype(np.int32),
    )


def _isomorphism(
    template: Component, elements: np.ndarray, bonds: np.ndarray
) -> tuple[int, ...] | None:
    """Atom of the molecule for each atom of the template, bond orders and charges aside."""
    from rdkit import Chem

    if sorted(template.elements.tolist()) != sorted(elements.tolist()):
        return None
    if len(bonds) != len(template.bonds):
        return None
    zero = np.zeros(len(elements), np.int32)
    graphs: list[Any] = []
    for own_elements, own_bonds in ((elements, bonds), (template.elements, template.bonds)):
        single = own_bonds.copy()
        single[:, 2] = 1
        graph: Any = _graph(own_elements, zero, single, None)
        for atom in graph.GetAtoms():
            atom.SetNoImplicit(True)
        Chem.FastFindRings(graph)
        graphs.append(graph)
    found: tuple[int, ...] = graphs[0].GetSubstructMatch(graphs[1])
    return found or None


def _graph(
    elements: np.ndarray, charges: np.ndarray, bonds: np.ndarray, xyz: np.ndarray | None
) -> Any:
    from rdkit import Chem
    from rdkit.Geometry import Point3D

    kinds = {
        1: Chem.BondType.SINGLE,
        2: Chem.BondType.DOUBLE,
        3: Chem.BondType.TRIPLE,
        AROMATIC: Chem.BondType.AROMATIC,
    }
    molecule = Chem.RWMol()
    for element, charge in zip(elements.tolist(), charges.tolist(), strict=True):
        atom = Chem.Atom(int(element))
        atom.SetFormalCharge(int(charge))
        molecule.AddAtom(atom)
    for i, j, order in bonds.tolist():
        molecule.AddBond(i, j, kinds[order])
    if xyz is not None:
        conformer = Chem.Conformer(len(elements))
        for i, (x, y, z) in enumerate(np.asarray(xyz, float).tolist()):
            conformer.SetAtomPosition(i, Point3D(x, y, z))
        conformer.Set3D(True)
        molecule.AddConformer(conformer, assignId=True)
    return molecule


def chirality_from_positions(
    elements: Int[np.ndarray, " atom"],
    charges: Int[np.ndarray, " atom"],
    bonds: Int[np.ndarray, "bond 3"],
    xyz: Float[np.ndarray, "atom 3"],
) -> Int[np.ndarray, " atom"]:
    """CIP labels (0 none, 1 R, 2 S) from bonds and positions.

    Source: the labelling of rdkit (Hanson et al. 2018). Atoms that rdkit cannot judge are 0.
    """
    from rdkit import Chem, rdBase

    out = np.zeros(len(elements), np.int32)
    molecule = _graph(elements, charges, bonds, xyz)
    blocked = rdBase.BlockLogs()
    try:
        Chem.SanitizeMol(
            molecule, Chem.SanitizeFlags.SANITIZE_ALL ^ Chem.SanitizeFlags.SANITIZE_PROPERTIES
        )
        Chem.AssignStereochemistryFrom3D(molecule)
    except (ValueError, RuntimeError):
        return out
    finally:
        del blocked
    for atom in molecule.GetAtoms():
        if atom.HasProp("_CIPCode"):
            out[atom.GetIdx()] = {"R": 1, "S": 2}.get(atom.GetProp("_CIPCode"), 0)
    return out


def _embed(elements: np.ndarray, bonds: np.ndarray) -> tuple[np.ndarray, bool]:
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom

    zeros = np.zeros((len(elements), 3), np.float32)
    if len(elements) == 1:
        return zeros, True
    molecule = _graph(elements, np.zeros(len(elements), np.int32), bonds, None)
    for atom in molecule.GetAtoms():
        atom.SetNoImplicit(True)
    blocked = rdBase.BlockLogs()
    try:
        Chem.SanitizeMol(
            molecule, Chem.SanitizeFlags.SANITIZE_ALL ^ Chem.SanitizeFlags.SANITIZE_PROPERTIES
        )
        settings: Any = rdDistGeom.ETKDGv3()
        settings.randomSeed = _EMBEDDING_SEED
        settings.useRandomCoords = True
        settings.maxIterations = 5
        settings.timeout = 10
        if rdDistGeom.EmbedMolecule(molecule, settings) != 0:
            return zeros, False
    except (ValueError, RuntimeError):
        return zeros, False
    finally:
        del blocked
    found = np.array(molecule.GetConformer().GetPositions(), np.float32)
    return found, bool(np.isfinite(found).all())
