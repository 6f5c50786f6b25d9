"""Small, correct files in every format of the molecule readers, written by other libraries.

Structures are assembled from the Chemical Component Dictionary that ships with biotite and
written by gemmi; molecules are written by RDKit.
"""

from __future__ import annotations

from pathlib import Path

import biotite.structure.info as info
import biotite.structure.io.pdbx as pdbx
import gemmi
import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem

PEPTIDE = ("MET", "ALA", "GLY", "TRP", "SER", "MSE")
SMILES = ("CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "O=C([O-])c1ccncc1.[Na+]", "C1CC1C#N")


def _residue(code: str, number: int, shift: float, hetero: bool) -> gemmi.Residue:
    residue = gemmi.Residue()
    residue.name = code
    residue.seqid = gemmi.SeqId(number, " ")
    residue.label_seq = number if not hetero else None
    residue.het_flag = "H" if hetero or code == "MSE" else "A"
    residue.entity_type = gemmi.EntityType.NonPolymer if hetero else gemmi.EntityType.Polymer
    source = info.residue(code)
    for name, element, xyz in zip(source.atom_name, source.element, source.coord, strict=True):
        if element in ("H", "D") or (name == "OXT" and not hetero):
            continue
        atom = gemmi.Atom()
        atom.name, atom.element = str(name), gemmi.Element(str(element).capitalize())
        atom.pos = gemmi.Position(*(np.asarray(xyz, float) + np.array([shift, 0.0, 0.0])))
        atom.occ, atom.b_iso = 1.0, 20.0
        residue.add_atom(atom)
    return residue


def structure() -> gemmi.Structure:
    """A six-residue peptide with a modified residue, AMP, zinc and two waters, two models."""
    entry = gemmi.Structure()
    entry.name = "FUZZ"
    for number in (1, 2):
        model = gemmi.Model(number)
        chain = gemmi.Chain("A")
        for index, code in enumerate(PEPTIDE, start=1):
            chain.add_residue(_residue(code, index, 3.6 * index, hetero=False))
        ligands = gemmi.Chain("B")
        for index, code in enumerate(("AMP", "ZN", "HOH", "HOH"), start=1):
            ligands.add_residue(_residue(code, 100 + index, 12.0 * index, hetero=True))
        model.add_chain(chain)
        model.add_chain(ligands)
        entry.add_model(model)
    entry.setup_entities()
    entry.entities[0].full_sequence = list(PEPTIDE)
    entry.assign_serial_numbers()
    return entry


def write_mmcif(folder: Path) -> list[Path]:
    path = folder / "original.cif"
    structure().make_mmcif_document().write_file(str(path))
    return [path]


def write_pdb(folder: Path) -> list[Path]:
    path = folder / "original.pdb"
    path.write_text(structure().make_pdb_string(), encoding="ascii")
    return [path]


def write_sdf(folder: Path) -> list[Path]:
    """Three-dimensional molecules with data items, V2000 and V3000."""
    paths = []
    for version in ("v2000", "v3000"):
        blocks = []
        for smiles in SMILES:
            mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(mol, randomSeed=7)
            mol.SetProp("_Name", smiles[:8])
            block = Chem.MolToMolBlock(mol, forceV3000=version == "v3000")
            blocks.append(f"{block}> <logS>\n{-0.5 * mol.GetNumAtoms()}\n\n$$$$\n")
        paths.append(folder / f"original-{version}.sdf")
        paths[-1].write_text("".join(blocks), encoding="utf-8")
    return paths


def write_fasta(folder: Path) -> list[Path]:
    path = folder / "original.fasta"
    path.write_text(
        ">sp|P1|PROT a protein\nMKTAYIAKQRQISFVKSHFSRQ\nLEERLGLIEVQAPILSRVGDGT\n"
        ">rna1\nGGCUAACUGNACGU\n>dna1 strand\nACGTACGTTTGA\n>short\nMX\n",
        encoding="utf-8",
    )
    return [path]


def write_csv(folder: Path) -> list[Path]:
    path = folder / "original.csv"
    rows = [f'"mol {k}",{smiles},{-0.7 * k:.3f},{k % 2}' for k, smiles in enumerate(SMILES * 4)]
    path.write_text("name,smiles,logS,active\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return [path]


def write_bcif(folder: Path) -> list[Path]:
    """BinaryCIF of the mmCIF original, by biotite."""
    text = pdbx.CIFFile.read(str(write_mmcif(folder)[0]))
    binary = pdbx.BinaryCIFFile()
    pdbx.set_structure(binary, pdbx.get_structure(text, model=1), data_block="FUZZ")
    path = folder / "original.bcif"
    binary.write(str(path))
    return [path]
