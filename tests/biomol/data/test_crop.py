from dataclasses import replace

import numpy as np
import pytest

from biomol.chem.vocab import MolType
from biomol.data.complex import Complex
from biomol.data.crop import (
    contiguous_crop,
    select_tokens,
    spatial_crop,
    variable_positions,
    variable_window,
    window_crop,
)
from biomol.data.features import BUCKETS, bond_matrix
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from scimind.errors import InputError


def on_a_line(length: int) -> Complex:
    record = complex_from_sequence("A" * length, MolType.PROTEIN)
    coords = np.zeros_like(record.coords)
    coords[:, 1, 0] = 3.8 * np.arange(length)
    mask = np.zeros_like(record.coord_mask)
    mask[:, 1] = True
    return replace(record, coords=coords, coord_mask=mask)


def test_selecting_tokens_renumbers_bonds() -> None:
    record = from_smiles("CC(=O)Oc1ccccc1C(=O)O", "aspirin")
    ring = select_tokens(record, np.array([9, 4, 5, 6, 7, 8]))
    assert ring.num_tokens == 6
    np.testing.assert_array_equal(bond_matrix(ring), bond_matrix(record)[4:10, 4:10])
    assert (ring.bonds[:, 4] == 4).all()
    assert ring.atom_name[:, 1].tolist() == record.atom_name[4:10, 1].tolist()


def test_a_contiguous_crop_of_a_chain_has_consecutive_residues() -> None:
    record = on_a_line(100)
    crop = contiguous_crop(record, 32, np.random.default_rng(0))
    assert crop.num_tokens == 32
    assert np.diff(crop.res_index).tolist() == [1] * 31
    again = contiguous_crop(record, 32, np.random.default_rng(0))
    np.testing.assert_array_equal(crop.res_index, again.res_index)
    starts = {
        int(contiguous_crop(record, 32, np.random.default_rng(seed)).res_index[0])
        for seed in range(20)
    }
    assert len(starts) > 5


def test_a_spatial_crop_takes_the_nearest_tokens() -> None:
    record = on_a_line(100)
    crop = spatial_crop(record, 21, np.random.default_rng(0), centre=50)
    assert crop.res_index.tolist() == list(range(40, 61))
    with pytest.raises(InputError, match="not resolved"):
        spatial_crop(replace(record, coord_mask=record.coord_mask & False), 5,
                     np.random.default_rng(0), centre=3)  # fmt: skip


def test_a_crop_that_is_not_needed_changes_nothing() -> None:
    record = on_a_line(10)
    assert contiguous_crop(record, 32, np.random.default_rng(0)) is record
    assert spatial_crop(record, 10, np.random.default_rng(0)) is record


def test_a_small_ligand_is_cropped_whole_or_not_at_all() -> None:
    record = from_smiles(".".join(["c1ccccc1"] * 8), "eight benzenes")
    crop = contiguous_crop(record, 20, np.random.default_rng(1))
    sizes = np.bincount(crop.chain_id)
    assert set(sizes[sizes > 0].tolist()) == {6}
    assert crop.num_tokens == 18


def test_the_window_holds_every_variable_position() -> None:
    # GB1: 265 residues, varied at 39, 40, 41 and 54 (counted from 1).
    wild = "M" * 265
    variants = []
    for place in (38, 39, 40, 53):
        variants.append(wild[:place] + "A" + wild[place + 1 :])
    assert variable_positions([wild, *variants]).tolist() == [38, 39, 40, 53]
    start, stop = variable_window([wild, *variants], BUCKETS)
    assert stop - start == 32
    assert start <= 38
    assert stop > 53
    crop = window_crop(complex_from_sequence(variants[0], MolType.PROTEIN), (start, stop))
    assert crop.res_index.tolist() == list(range(start, stop))


def test_a_window_stays_within_the_sequence() -> None:
    assert variable_window(["MKV", "AKV"], BUCKETS) == (0, 3)
    first = "M" * 50
    assert variable_window([first, "A" + first[1:]], (32,)) == (0, 32)
    assert variable_window([first, first[:-1] + "A"], (32,)) == (18, 50)
    assert variable_window([first, first], (32,)) == (9, 41)
    with pytest.raises(InputError, match="lengths"):
        variable_window(["MKV", "MK"], BUCKETS)
    with pytest.raises(InputError, match="span 50"):
        variable_window([first, "A" + first[1:-1] + "A"], (32,))
