"""Hand-made PDB text for tests: single records, and peptides of ideal residues in a row."""

from __future__ import annotations

from collections.abc import Sequence

from biomol.chem.ccd import component, element_symbol


def atom(
    serial: int,
    name: str,
    residue: str,
    chain: str,
    number: int,
    xyz: Sequence[float],
    *,
    element: str = "C",
    hetero: bool = False,
    altloc: str = " ",
    insertion: str = " ",
    occupancy: float = 1.0,
) -> str:
    """One ATOM or HETATM line in the columns of format 3.3."""
    tag = "HETATM" if hetero else "ATOM"
    shown = name if len(name) == 4 or len(element) == 2 else f" {name}"
    x, y, z = xyz
    return (
        f"{tag:<6}{serial:>5} {shown:<4}{altloc}{residue:>3} {chain:1}{number:>4}{insertion}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{10.0:6.2f}          {element:>2}"
    )


def residue(
    code: str,
    chain: str,
    number: int,
    *,
    shift: float,
    hetero: bool = False,
    keep: Sequence[str] | None = None,
    named: str = "",
    altloc: str = " ",
    insertion: str = " ",
    occupancy: float = 1.0,
) -> list[str]:
    """Heavy atoms of a dictionary component at its ideal coordinates, moved along x.

    Args:
        code: Component.
        chain: Chain name.
        number: Residue number.
        shift: Distance along x, angstrom.
        hetero: Write HETATM records.
        keep: Atom names to write, all but the leaving ones by default.
        named: Residue name to write instead of the code.
        altloc: Label of the alternative.
        insertion: Insertion code.
        occupancy: Occupancy.
    """
    entry = component(code)
    lines = []
    for i, name in enumerate(entry.atom_names):
        wanted = not entry.leaving[i] if keep is None else name in keep
        if entry.elements[i] == 1 or not wanted:
            continue
        x, y, z = entry.positions[i].tolist()
        lines.append(
            atom(
                len(lines) + 1,
                name,
                named or code,
                chain,
                number,
                (x + shift, y, z),
                element=element_symbol(int(entry.elements[i])).upper(),
                hetero=hetero,
                altloc=altloc,
                insertion=insertion,
                occupancy=occupancy,
            )
        )
    return lines


def peptide(codes: Sequence[str], chain: str = "A", first: int = 1) -> list[str]:
    """Residues 8 angstrom apart: no two are bonded by distance."""
    lines = []
    for i, code in enumerate(codes):
        lines += residue(code, chain, first + i, shift=8.0 * i)
    return lines
