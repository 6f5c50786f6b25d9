"""Parts of a record that fit a bucket: contiguous, around a place, or where variants differ.

Every crop keeps tokens in order, renumbers bonds, and leaves ``res_index`` and ``chain_id`` as
they are, so that a gap stays visible as a gap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from biomol.chem.vocab import REPRESENTATIVE_SLOT, MolType
from biomol.data.complex import Complex
from scimind.errors import InputError
from scimind.typing import Int


def select_tokens(record: Complex, tokens: Int[np.ndarray, " kept"]) -> Complex:
    """The record restricted to some tokens.

    Args:
        record: The record.
        tokens: Indices to keep; they are put in ascending order.

    Returns:
        The part, with the bonds among the kept tokens.

    Raises:
        InputError: No token is kept, or an index is out of range.
    """
    tokens = np.unique(tokens)
    if len(tokens) == 0 or tokens[0] < 0 or tokens[-1] >= record.num_tokens:
        raise InputError(
            f"{record.name} has {record.num_tokens} tokens; "
            f"a selection of {len(tokens)} with other indices was asked for",
            rule="crop.tokens",
        )
    place = np.full(record.num_tokens, -1)
    place[tokens] = np.arange(len(tokens))
    kept = (place[record.bonds[:, 0]] >= 0) & (place[record.bonds[:, 2]] >= 0)
    bonds = record.bonds[kept].copy()
    bonds[:, 0], bonds[:, 2] = place[bonds[:, 0]], place[bonds[:, 2]]

    def names(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values[token] for token in tokens) if values else ()

    return Complex(
        name=record.name,
        source=record.source,
        mol_type=record.mol_type[tokens],
        restype=record.restype[tokens],
        res_index=record.res_index[tokens],
        chain_id=record.chain_id[tokens],
        entity_id=record.entity_id[tokens],
        atom_mask=record.atom_mask[tokens],
        atom_element=record.atom_element[tokens],
        atom_charge=record.atom_charge[tokens],
        atom_name=record.atom_name[tokens],
        ref_pos=record.ref_pos[tokens],
        coords=record.coords[tokens],
        coord_mask=record.coord_mask[tokens],
        chirality=record.chirality[tokens],
        bonds=bonds,
        chain_names=record.chain_names,
        residue_names=names(record.residue_names),
        residue_numbers=names(record.residue_numbers),
        properties=dict(record.properties),
        token_labels={name: labels[tokens] for name, labels in record.token_labels.items()},
    )


def contiguous_crop(record: Complex, num_tokens: int, rng: np.random.Generator) -> Complex:
    """Contiguous stretches of the chains, in random order until the size is reached.

    Args:
        record: The record; returned as it is when it fits.
        num_tokens: Size of the crop.
        rng: Source of the choice.

    Returns:
        The crop. A ligand is taken whole or not at all unless it alone exceeds what is left.

    Source: AlphaFold-Multimer (Evans et al. 2021), algorithm 1, without its minimum lengths.
    """
    _check_size(num_tokens)
    if record.num_tokens <= num_tokens:
        return record
    kept: list[np.ndarray] = []
    left = num_tokens
    for chain in rng.permutation(np.unique(record.chain_id)):
        tokens = np.flatnonzero(record.chain_id == chain)
        ligand = bool((record.mol_type[tokens] == MolType.ATOM).all())
        if left == 0 or (ligand and len(tokens) > left and kept):
            continue
        length = min(len(tokens), left)
        start = int(rng.integers(0, len(tokens) - length + 1))
        kept.append(tokens[start : start + length])
        left -= length
    return select_tokens(record, np.concatenate(kept))


def spatial_crop(
    record: Complex, num_tokens: int, rng: np.random.Generator, centre: int | None = None
) -> Complex:
    """Tokens nearest to one token, by the distance of representative atoms.

    Args:
        record: The record; returned as it is when it fits.
        num_tokens: Size of the crop.
        rng: Chooses the centre among the resolved tokens.
        centre: The token to crop around instead.

    Returns:
        The crop. Tokens without representative atom rank last, by their distance along the list;
        a record without any falls back to ``contiguous_crop``.

    Raises:
        InputError: The given centre is not resolved.

    Source: AlphaFold-Multimer (Evans et al. 2021), algorithm 2.
    """
    _check_size(num_tokens)
    if record.num_tokens <= num_tokens:
        return record
    resolved = record.coord_mask[:, REPRESENTATIVE_SLOT]
    if centre is None:
        if not resolved.any():
            return contiguous_crop(record, num_tokens, rng)
        centre = int(rng.choice(np.flatnonzero(resolved)))
    elif not 0 <= centre < record.num_tokens or not resolved[centre]:
        raise InputError(
            f"token {centre} of {record.name} is not resolved; crop around one that is",
            rule="crop.centre",
        )
    position = record.coords[:, REPRESENTATIVE_SLOT]
    distance = np.linalg.norm(position - position[centre], axis=-1)
    along = np.abs(np.arange(record.num_tokens) - centre)
    order = np.lexsort((along, np.where(resolved, distance, np.inf)))
    return select_tokens(record, order[:num_tokens])


def variable_positions(sequences: Sequence[str]) -> Int[np.ndarray, " position"]:
    """Positions at which aligned sequences of one length differ.

    Args:
        sequences: At least one sequence, all of the same length.

    Returns:
        Ascending positions, empty when all sequences are the same.

    Raises:
        InputError: The lengths differ.
    """
    lengths = {len(sequence) for sequence in sequences}
    if len(lengths) != 1:
        raise InputError(
            f"the sequences have lengths {sorted(lengths)[:5]}; a window of variable positions "
            "needs one length",
            rule="crop.lengths",
        )
    letters = np.frombuffer("".join(sequences).encode("latin-1", "replace"), np.uint8)
    table = letters.reshape(len(sequences), -1)
    return np.flatnonzero((table != table[0]).any(axis=0))


def variable_window(sequences: Sequence[str], buckets: Sequence[int]) -> tuple[int, int]:
    """The window of an assay that holds every position its training sequences differ at.

    Constructs of deep mutational scans carry hundreds of constant residues; a window around the
    varied ones costs a fraction. Take the training part only, so that the test part decides
    nothing.

    Args:
        sequences: Training sequences, aligned.
        buckets: Allowed lengths, ascending.

    Returns:
        ``(start, stop)``, centred on the variable positions and as long as the smallest bucket
        that holds them, cut at the ends of the sequence.

    Raises:
        InputError: The lengths differ, or no bucket is long enough.
    """
    length = len(sequences[0])
    varied = variable_positions(sequences)
    if len(varied) == 0:
        varied = np.array([length // 2])
    span = int(varied[-1] - varied[0]) + 1
    fitting = [bucket for bucket in buckets if bucket >= min(span, length)]
    if not fitting:
        raise InputError(
            f"the variable positions span {span} residues, the largest bucket is {buckets[-1]}",
            rule="crop.window",
        )
    size = min(fitting[0], length)
    middle = (int(varied[0]) + int(varied[-1]) + 1) // 2
    start = min(max(middle - size // 2, 0), length - size)
    return start, start + size


def window_crop(record: Complex, window: tuple[int, int]) -> Complex:
    """Tokens ``start`` to ``stop`` of a single chain.

    Args:
        record: The record.
        window: Result of ``variable_window``.

    Raises:
        InputError: The record is shorter than the window.
    """
    start, stop = window
    if stop > record.num_tokens:
        raise InputError(
            f"{record.name} has {record.num_tokens} tokens, the window ends at {stop}",
            rule="crop.window",
        )
    return select_tokens(record, np.arange(start, stop))


def _check_size(num_tokens: int) -> None:
    if num_tokens < 1:
        raise InputError(f"a crop of {num_tokens} tokens; keep one at least", rule="crop.size")
