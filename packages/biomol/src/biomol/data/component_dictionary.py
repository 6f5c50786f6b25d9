"""The embedded data set: chemical components with ideal coordinates and computed properties.

The Chemical Component Dictionary (Westbrook et al., Bioinformatics 31 (2015) 1274) comes with
biotite, so this needs neither a download nor a file of the user. Properties are computed by
RDKit from the graph; they are exact functions of the molecule, which makes them a test of
learning, not a benchmark of chemistry.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors

from biomol.chem.ccd import Component, component_codes, find_component
from biomol.chem.vocab import ELEMENTS
from biomol.data.cache import load_or_build
from biomol.data.complex import Complex
from biomol.data.datasets.dataset import Dataset
from biomol.data.packed import PackedComplexes, pack
from biomol.data.splits import scaffold_groups_split, scaffold_of
from biomol.io.ligand import complex_from_mol
from biomol.io.rejection import Rejection
from biomol.io.tables import Property
from scimind.data.cache import cache_folder
from scimind.errors import InputError
from scimind.seeding import numpy_generator

log = logging.getLogger(__name__)

MIN_ATOMS, MAX_ATOMS = 4, 64
"""Heavy atoms of a usable component."""

PROPERTIES: tuple[Property, ...] = (
    Property("ccd/logp", "regression", "log10 (Crippen)"),
    Property("ccd/molar_refractivity", "regression", "cm3/mol (Crippen)"),
    Property("ccd/tpsa", "regression", "angstrom^2"),
    Property("ccd/fraction_sp3", "regression"),
    Property("ccd/rotatable_bonds", "regression", "count"),
    Property("ccd/h_bond_donors", "regression", "count"),
    Property("ccd/lipinski", "binary", "no rule of five violated"),
    Property("ccd/chiral", "binary", "has a stereocentre"),
)
"""Labels of every component."""

_SOURCE = "chemical component dictionary"
_BOND_TYPES = {
    1: Chem.BondType.SINGLE,
    2: Chem.BondType.DOUBLE,
    3: Chem.BondType.TRIPLE,
    # Orders the dictionary gives without saying single or double.
    4: Chem.BondType.AROMATIC,
}
_CACHE_VERSION = 1


def load_component_dictionary(
    limit: int | None = 20_000,
    *,
    seed: int = 0,
    cache: Path | None = None,
    use_cache: bool = True,
) -> Dataset:
    """Components of the dictionary, drawn in an order that depends on the seed alone.

    Args:
        limit: Number of components wanted; None for all that are usable.
        seed: Seed of the order.
        cache: Folder for the prepared records; that of ``scimind.data.cache`` by default.
        use_cache: Read and write that folder.

    Returns:
        Single-component records with coordinates, conformer, bonds, chirality and
        ``PROPERTIES``; scaffold split 80/10/10; every component that was looked at and refused,
        with its reason.

    Raises:
        InputError: ``limit`` is not positive.
    """
    if limit is not None and limit < 1:
        raise InputError(
            f"limit={limit}; ask for one component at least", rule="component_dictionary.limit"
        )
    key = {
        "data": "ccd",
        "version": _CACHE_VERSION,
        "biotite": version("biotite"),
        "rdkit": rdBase.rdkitVersion,
        "limit": limit,
        "seed": seed,
        "atoms": [MIN_ATOMS, MAX_ATOMS],
    }
    folder = (cache or cache_folder() / "biomol") if use_cache else None
    records, description = load_or_build(folder, "ccd", key, lambda: _prepare(limit, seed))
    rejected = tuple(
        Rejection(_SOURCE, None, rule, message) for rule, message in description["rejected"]
    )
    return Dataset(
        name="ccd",
        records=records,
        split=scaffold_groups_split(description["scaffolds"]),
        properties=PROPERTIES,
        keys=tuple(description["smiles"]),
        rejected=rejected,
        digest=str(description["digest"]),
    )


def component_mol(component: Component) -> Chem.Mol:
    """RDKit molecule of the heavy atoms of a component, in their order, with its coordinates.

    Args:
        component: Entry of the dictionary with hydrogens.

    Returns:
        Sanitised molecule; chirality is that of the coordinates.

    Raises:
        InputError: RDKit refuses the molecule, or its hydrogens are not those of the entry.
    """
    heavy = component.heavy()
    editable = Chem.RWMol()
    for element, charge in zip(heavy.elements.tolist(), heavy.charges.tolist(), strict=True):
        atom = Chem.Atom(element)
        atom.SetFormalCharge(charge)
        editable.AddAtom(atom)
    for (i, j, _), order in zip(heavy.bonds.tolist(), heavy.kekule_orders.tolist(), strict=True):
        editable.AddBond(i, j, _BOND_TYPES[order])
    conformer = Chem.Conformer(len(heavy.elements))
    conformer.SetPositions(heavy.positions.astype(np.float64))
    editable.AddConformer(conformer)
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(editable)
        except (Chem.MolSanitizeException, RuntimeError, ValueError) as error:
            raise InputError(
                f"{component.code}: RDKit refuses it: {error}", rule="ccd.sanitize"
            ) from None
        mol: Chem.Mol = editable.GetMol()
        Chem.AssignStereochemistryFrom3D(mol)
    declared = int((component.elements == 1).sum())
    implied = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if implied != declared:
        raise InputError(
            f"{component.code}: {declared} hydrogens are listed, bonds and charges imply {implied}",
            rule="ccd.hydrogens",
        )
    return mol


def properties_of(mol: Chem.Mol) -> dict[str, float]:
    """``PROPERTIES`` of a molecule.

    Args:
        mol: Sanitised molecule.

    Returns:
        Values by property name. Crippen: Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39
        (1999) 868; TPSA: Ertl et al., J. Med. Chem. 43 (2000) 3714; rule of five: Lipinski
        et al., Adv. Drug Deliv. Rev. 23 (1997) 3.
    """
    logp, refractivity = rdMolDescriptors.CalcCrippenDescriptors(mol)
    within = (
        logp <= 5
        and rdMolDescriptors.CalcExactMolWt(mol) <= 500
        and rdMolDescriptors.CalcNumLipinskiHBD(mol) <= 5
        and rdMolDescriptors.CalcNumLipinskiHBA(mol) <= 10
    )
    return {
        "ccd/logp": logp,
        "ccd/molar_refractivity": refractivity,
        "ccd/tpsa": rdMolDescriptors.CalcTPSA(mol),
        "ccd/fraction_sp3": rdMolDescriptors.CalcFractionCSP3(mol),
        "ccd/rotatable_bonds": float(rdMolDescriptors.CalcNumRotatableBonds(mol)),
        "ccd/h_bond_donors": float(rdMolDescriptors.CalcNumHBD(mol)),
        "ccd/lipinski": float(within),
        "ccd/chiral": float(any(atom.GetChiralTag() for atom in mol.GetAtoms())),
    }


def _prepare(limit: int | None, seed: int) -> tuple[PackedComplexes, dict[str, Any]]:
    log.info("preparing components of the dictionary (kept in the cache for later runs)")
    codes = list(component_codes())
    order = numpy_generator(seed, "component_dictionary").permutation(len(codes))
    smiles: list[str] = []
    scaffolds: list[str] = []
    rejected: list[tuple[str, str]] = []

    def accepted() -> Iterator[Complex]:
        seen: set[str] = set()
        for index in order:
            try:
                component = _usable(codes[index])
                mol = component_mol(component)
                text = Chem.MolToSmiles(mol)
                _require(text not in seen, component, "duplicate", "the same molecule came before")
                record = _record(component, mol)
            except InputError as error:
                rejected.append((error.rule, error.message))
                continue
            seen.add(text)
            smiles.append(text)
            scaffolds.append(scaffold_of(mol))
            yield record
            if len(smiles) == limit:
                return

    records = pack(accepted())
    counts = dict(Counter(rule for rule, _ in rejected).most_common())
    log.info("%d components taken, %d refused: %s", len(records), len(rejected), counts)
    return records, {
        "smiles": smiles,
        "scaffolds": scaffolds,
        "rejected": rejected,
        "digest": f"biotite {version('biotite')} CCD",
    }


def _usable(code: str) -> Component:
    component = find_component(code)
    if component is None:
        raise InputError(f"{code}: the entry has no atoms", rule="ccd.no_atoms")
    heavy = component.elements[component.elements != 1]
    known = {Chem.GetPeriodicTable().GetAtomicNumber(symbol) for symbol in ELEMENTS}
    _require(not component.replaced_by, component, "obsolete", "it was replaced")
    _require(
        MIN_ATOMS <= len(heavy) <= MAX_ATOMS,
        component,
        "size",
        f"{len(heavy)} heavy atoms, {MIN_ATOMS} to {MAX_ATOMS} are used",
    )
    _require(set(heavy.tolist()) <= known, component, "element", "an element is not in use")
    _require(6 in heavy, component, "inorganic", "it has no carbon")
    _require(component.has_positions, component, "coordinates", "coordinates are incomplete")
    return component


def _record(component: Component, mol: Chem.Mol) -> Complex:
    heavy = component.heavy()
    centred = heavy.positions - heavy.positions.mean(axis=0)
    record = complex_from_mol(
        mol,
        component.code,
        f"{_SOURCE}#{component.code}",
        reference=centred,
        positions=centred,
        atom_names=heavy.atom_names,
        residue_name=component.code,
        properties=properties_of(mol),
    )
    _require(int(record.chain_id.max()) == 0, component, "fragments", "it is not connected")
    return record


def _require(condition: bool, component: Component, rule: str, reason: str) -> None:
    if not condition:
        raise InputError(f"{component.code}: {reason}", rule=f"ccd.{rule}")
