"""The dictionary and the standard residues: names, elements, geometry, stereochemistry."""

import numpy as np
import pytest
from rdkit import Chem

from biomol.chem.ccd import (
    atomic_number,
    component,
    component_codes,
    element_symbol,
    find_component,
)
from biomol.chem.perception import bonds_by_distance, perceive_component
from biomol.chem.standard import (
    nucleotide_code,
    protein_code,
    reference_slots,
    standard_atom_name,
)
from biomol.chem.vocab import DNA_CODES, ELEMENTS, PROTEIN_CODES, RNA_CODES, SLOT_NAMES
from scimind.errors import InputError


def test_the_dictionary_has_tens_of_thousands_of_components() -> None:
    codes = list(component_codes())
    assert len(codes) > 40_000
    assert {"HEM", "ATP", "ALA", "DA", "NAG"} <= set(codes)


def test_an_unknown_code_is_an_error_with_a_way_out() -> None:
    assert find_component("not a code") is None
    with pytest.raises(InputError, match="SMILES or SDF"):
        component("not a code")


def test_benzene_is_a_ring_of_six_aromatic_bonds() -> None:
    ring = component("BNZ").heavy()
    assert ring.elements.tolist() == [6] * 6
    assert ring.bonds[:, 2].tolist() == [4] * 6
    assert sorted(ring.kekule_orders.tolist()) == [1, 1, 1, 2, 2, 2]
    lengths = np.linalg.norm(np.diff(ring.positions[ring.bonds[:, :2]], axis=1), axis=-1)
    np.testing.assert_allclose(lengths, 1.39, atol=0.02)


def test_charges_and_leaving_atoms_are_those_of_the_dictionary() -> None:
    assert component("ZN").charges.tolist() == [2]
    alanine = component("ALA")
    leaving = {n for n, gone in zip(alanine.atom_names, alanine.leaving, strict=True) if gone}
    assert "OXT" in leaving
    assert "O" not in leaving


@pytest.mark.parametrize("symbol", ELEMENTS)
def test_element_symbols_and_numbers_are_inverse(symbol: str) -> None:
    assert element_symbol(atomic_number(symbol.upper())) == symbol


def test_deuterium_is_hydrogen() -> None:
    assert atomic_number("D") == 1


@pytest.mark.parametrize("code", SLOT_NAMES)
def test_reference_slots_hold_distinct_bonded_atoms(code: str) -> None:
    slots = reference_slots(code)
    used = len(SLOT_NAMES[code])
    assert slots.mask.sum() == used
    assert slots.names[:used].tolist() == list(SLOT_NAMES[code])
    positions = slots.positions[:used]
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(distance, 9.0)
    assert distance.min(axis=1).min() > 1.1
    assert distance.min(axis=1).max() < 1.95
    assert (slots.positions[used:] == 0).all()


def test_amino_acids_are_left_handed_and_cysteine_is_called_r() -> None:
    for code in PROTEIN_CODES:
        slots = reference_slots(code)
        assert slots.chirality[1] == {"GLY": 0, "CYS": 1}.get(code, 2)
        if code != "GLY":
            n, ca, c, _, cb = slots.positions[:5].astype(float)
            # CB of L amino acids from the backbone, the coefficients of Dauparas et al. (2022);
            # the mirror image would be 2 angstrom away, force-field conformers differ a little.
            b, e = ca - n, c - ca
            ideal = -0.58273431 * np.cross(b, e) + 0.56802827 * b - 0.54067466 * e + ca
            assert np.linalg.norm(ideal - cb) < 0.3


def test_nucleotide_frames_are_in_the_same_order_in_rna_and_dna() -> None:
    for code in (*RNA_CODES, *DNA_CODES):
        assert reference_slots(code).names[:3].tolist() == ["C3'", "C1'", "C4'"]


@pytest.mark.parametrize(
    ("name", "deoxy", "code"),
    [("A", False, "A"), ("A", True, "DA"), ("ADE", True, "DA"), ("URI", False, "U"),
     ("DU", True, None), ("U", True, None), ("T", False, "DT"), ("RA5", True, "A"),
     ("DC3", False, "DC"), ("PSU", False, None)],
)  # fmt: skip
def test_nucleotide_names(name: str, deoxy: bool, code: str | None) -> None:
    assert nucleotide_code(name, deoxy=deoxy) == code


def test_protein_and_atom_names_of_other_conventions() -> None:
    assert protein_code("MSE") == "MET"
    assert protein_code("SEP") is None
    assert standard_atom_name("ILE", "CD") == "CD1"
    assert standard_atom_name("MET", "SE") == "SD"
    assert standard_atom_name("A", "O5*") == "O5'"
    assert standard_atom_name("DT", "C5M") == "C7"
    assert standard_atom_name("LEU", "CD1") == "CD1"


@pytest.mark.parametrize("code", ["TRP", "ATP", "BTN", "SO4", "CLR"])
def test_bonds_by_distance_are_those_of_the_dictionary(code: str) -> None:
    entry = component(code).heavy()
    found = bonds_by_distance(entry.elements, entry.positions)
    expected = {tuple(sorted(pair)) for pair in entry.bonds[:, :2].tolist()}
    assert {tuple(pair) for pair in found[:, :2].tolist()} == expected


def test_a_known_graph_gives_orders_and_charges_to_renamed_atoms() -> None:
    entry = component("BTN").heavy()
    order = np.random.default_rng(3).permutation(len(entry.atom_names))
    names = [f"X{i}" for i in range(len(order))]
    made = perceive_component(
        "BTN", names, entry.elements[order], entry.charges[order], entry.positions[order],
        template=entry,
    )  # fmt: skip
    back = {f"X{i}": entry.atom_names[k] for i, k in enumerate(order.tolist())}
    elements = dict(zip(entry.atom_names, entry.elements.tolist(), strict=True))
    assert all(
        elements[back[name]] == element
        for name, element in zip(made.atom_names, made.elements.tolist(), strict=True)
    )
    assert sorted(made.bonds[:, 2].tolist()) == sorted(entry.bonds[:, 2].tolist())


def test_perceived_chirality_is_rdkits_and_the_conformer_does_not_copy_the_positions() -> None:
    molecule = Chem.AddHs(Chem.MolFromSmiles("C[C@H](F)Cl"))
    from rdkit.Chem import rdDistGeom

    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    molecule = Chem.RemoveHs(molecule)
    xyz = molecule.GetConformer().GetPositions()
    elements = np.array([a.GetAtomicNum() for a in molecule.GetAtoms()], np.int32)
    made = perceive_component("X", list("abcd"), elements, np.zeros(4, np.int32), xyz)
    mirror = perceive_component("X", list("abcd"), elements, np.zeros(4, np.int32), -xyz)
    label = dict(Chem.FindMolChiralCenters(molecule, useLegacyImplementation=False))[1]
    assert made.chirality[1] == {"R": 1, "S": 2}[label]
    assert mirror.chirality[1] == 3 - made.chirality[1]
    assert np.abs(made.positions - xyz).max() > 1e-3
