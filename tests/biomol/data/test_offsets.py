"""Mean atom positions by residue type."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import TOKEN_ID
from biomol.data.offsets import mean_offsets
from small_complexes import peptide


def test_means_do_not_depend_on_the_pose_and_unseen_atoms_have_none():
    record = peptide("AWWG")
    turned = replace(
        record,
        coords=(record.coords @ Rotation.random(random_state=0).as_matrix().T + 7).astype(
            np.float32
        ),
    )
    offsets = mean_offsets([record])
    np.testing.assert_allclose(mean_offsets([turned]), offsets, atol=1e-4)
    np.testing.assert_allclose(mean_offsets([record, turned, record]), offsets, atol=1e-4)
    assert np.isfinite(offsets[TOKEN_ID["ALA"], :5]).all()
    assert np.isnan(offsets[TOKEN_ID["ALA"], 5:]).all()
    assert np.isnan(offsets[TOKEN_ID["LYS"]]).all()
    # CA is the origin and C lies on the x axis
    np.testing.assert_allclose(offsets[TOKEN_ID["TRP"], 1], 0.0, atol=1e-6)
    np.testing.assert_allclose(offsets[TOKEN_ID["TRP"], 2, 1:], 0.0, atol=1e-5)


def test_a_residue_without_its_frame_does_not_count():
    record = peptide("WW")
    mask = record.coord_mask.copy()
    mask[0, 2] = False
    broken = replace(record, coord_mask=mask)
    far = record.coords.copy()
    far[0] += 50.0
    np.testing.assert_allclose(
        mean_offsets([replace(broken, coords=far)]), mean_offsets([broken]), atol=1e-5
    )
    assert np.isnan(mean_offsets([])).all()
