"""Rigid-body geometry in the graph: local frames, invariant pair features, superposition.

Everything is made of additions and 3x3 or 4x4 matrix products, so that it runs in one graph on
any device (no SVD or eigenvalue operator is needed).
"""

from __future__ import annotations

from mindspore import Tensor, ops

from biomol.chem.vocab import FRAME_SLOTS, REPRESENTATIVE_SLOT
from biomol.model.encoding import chain_window, one_hot
from scimind.ops import spread
from scimind.typing import Float, Int

FRAME_RELIABILITY_ANGSTROM = 1.0
"""Noise at which a local frame counts half: about the length of the bonds that define it."""


def cross(a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Cross product over the last axis."""
    a0, a1, a2 = a[..., 0:1], a[..., 1:2], a[..., 2:3]
    b0, b1, b2 = b[..., 0:1], b[..., 1:2], b[..., 2:3]
    return ops.cat((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0), axis=-1)


def normalise(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Unit vector; zero stays zero."""
    return vector * ops.rsqrt((vector * vector).sum(axis=-1, keepdims=True) + 1e-6)


def token_frames(
    positions: Float[Tensor, "batch token slot 3"],
    visible: Float[Tensor, "batch token slot"],
    sigma: Float[Tensor, "batch token slot"],
) -> tuple[Float[Tensor, "batch token 3 3"], Float[Tensor, "batch token"]]:
    """Local frame of each polymer token by Gram-Schmidt, and how far it can be relied on.

    Returns:
        Rotation whose rows are the frame axes (local = rotation @ global), and a reliability in
        [0, 1]: 0 for tokens without the three atoms, falling with the noise on the noisiest of
        them as ``1 / (1 + sigma^2)``.
    """
    first, centre, third = FRAME_SLOTS
    origin = positions[:, :, centre]
    x_axis = normalise(positions[:, :, third] - origin)
    in_plane = positions[:, :, first] - origin
    y_axis = normalise(in_plane - (in_plane * x_axis).sum(axis=-1, keepdims=True) * x_axis)
    z_axis = cross(x_axis, y_axis)
    rotation = ops.stack((x_axis, y_axis, z_axis), axis=-2)
    present = visible[:, :, first] * visible[:, :, centre] * visible[:, :, third]
    noisiest = ops.maximum(ops.maximum(sigma[:, :, first], sigma[:, :, third]), sigma[:, :, centre])
    return rotation, present * reliability_at(noisiest)


def reliability_at(sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """How far a frame can be relied on with this noise on its atoms, 1 to 0."""
    return 1.0 / (1.0 + ops.square(sigma / FRAME_RELIABILITY_ANGSTROM))


def to_local(
    rotation: Float[Tensor, "batch token 3 3"],
    vectors: Float[Tensor, "batch token slot 3"],
) -> Float[Tensor, "batch token slot 3"]:
    """Vectors of each token expressed in its own frame."""
    return ops.matmul(vectors, rotation.swapaxes(-1, -2))


def to_global(
    rotation: Float[Tensor, "batch token 3 3"],
    vectors: Float[Tensor, "batch token slot 3"],
) -> Float[Tensor, "batch token slot 3"]:
    """Inverse of `to_local`."""
    return ops.matmul(vectors, rotation)


NEIGHBOUR_SLOTS = 4
"""Leading slots of the two adjacent residues that a token sees in its own frame."""


def adjacent_residues(
    positions: Float[Tensor, "batch token slot 3"],
    visible: Float[Tensor, "batch token slot"],
    sigma: Float[Tensor, "batch token slot"],
    rotation: Float[Tensor, "batch token 3 3"],
    frame_reliability: Float[Tensor, "batch token"],
    res_index: Int[Tensor, "batch token"],
    chain_id: Int[Tensor, "batch token"],
) -> Float[Tensor, "batch token atom 3"]:
    """First atoms of the previous and of the next residue in the frame of each token.

    For proteins that is N, CA, C and O of both, which say phi, psi and omega without any angle;
    0 where there is no such residue or atom. Each is weighted by what can be relied on less, the
    frame or the atom: next to a gap in a given backbone stand atoms that are nothing but noise.
    """
    batch, tokens = res_index.shape
    count = NEIGHBOUR_SLOTS
    known = visible[:, :, :count] * reliability_at(sigma[:, :, :count])
    atoms = ops.cat((positions[:, :, :count], known.expand_dims(-1)), axis=-1)
    before, _, after = chain_window(
        atoms.reshape((batch, tokens, count * 4)), res_index, chain_id, 1
    )
    near = ops.cat((before, after), axis=-1).reshape((batch, tokens, 2 * count, 4))
    centre = positions[:, :, REPRESENTATIVE_SLOT].expand_dims(2)
    own = spread(frame_reliability.reshape((batch, tokens, 1, 1)), (batch, tokens, 2 * count, 1))
    weight = ops.minimum(near[..., 3:], own)
    return to_local(rotation, near[..., :3] - centre) * weight


def pair_distances(
    points: Float[Tensor, "batch left 3"], others: Float[Tensor, "batch right 3"]
) -> Float[Tensor, "batch left right"]:
    """Euclidean distances between two sets of points, differentiable at zero distance.

    Coordinates are subtracted before squaring: the expanded form loses three digits at 50
    angstrom, which is the length of a bond.
    """
    x = points[:, :, None, 0] - others[:, None, :, 0]
    y = points[:, :, None, 1] - others[:, None, :, 1]
    z = points[:, :, None, 2] - others[:, None, :, 2]
    return ops.sqrt(x * x + y * y + z * z + 1e-8)


def radial_basis(
    distance: Float[Tensor, "*batch"], low: float, high: float, count: int
) -> Float[Tensor, "*batch basis"]:
    """Gaussians at ``count`` evenly spaced centres between ``low`` and ``high`` angstrom."""
    width = (high - low) / (count - 1)
    shape = (*distance.shape, count)
    centres = Tensor([low + width * index for index in range(count)])
    centres = spread(centres.reshape((1,) * distance.ndim + (count,)), shape)
    return ops.exp(-ops.square((spread(distance.expand_dims(-1), shape) - centres) / width))


def _weighted(
    features: Float[Tensor, "batch token token feature"],
    weight: Float[Tensor, "batch token token 1"],
) -> Float[Tensor, "batch token token feature"]:
    return features * spread(weight, features.shape)


SIDE_POINT = (-0.84, -1.24, -1.94)
"""Where side chains are, in the frame of their residue: 1.6 bonds along CA-CB (ideal geometry)."""

RADIAL_SIZE = 16 + 16
"""Leading pair features: how near the other token is, by its centre and by its side chain."""
PAIR_FEATURE_SIZE = RADIAL_SIZE + 8 + 8 + 3 + 9 + 1


def pair_features(
    positions: Float[Tensor, "batch token slot 3"],
    visible: Float[Tensor, "batch token slot"],
    sigma: Float[Tensor, "batch token slot"],
    rotation: Float[Tensor, "batch token 3 3"],
    frame_reliability: Float[Tensor, "batch token"],
) -> Float[Tensor, "batch token token feature"]:
    """Rotation- and translation-invariant description of each ordered pair of tokens.

    Distances between representative atoms and between the points where side chains would be (16
    Gaussians to 22 angstrom each), from slot 3 of i to slot 0 of j and the reverse (8 to 12
    angstrom: the O...N distances of backbone hydrogen bonds), the direction of j in the frame of
    i, the relative rotation of the two frames, and the reliability of the pair. Each is weighted
    by how far noise lets it be relied on.
    """
    batch, tokens = positions.shape[0], positions.shape[1]
    centre = positions[:, :, REPRESENTATIVE_SLOT]
    known = visible[:, :, REPRESENTATIVE_SLOT] / (
        1.0 + ops.square(sigma[:, :, REPRESENTATIVE_SLOT] / (4 * FRAME_RELIABILITY_ANGSTROM))
    )
    pair_known = (known[:, :, None] * known[:, None, :]).expand_dims(-1)
    distance = pair_distances(centre, centre)
    frame_i = (frame_reliability[:, :, None] * known[:, None, :]).expand_dims(-1)
    frame_ij = (frame_reliability[:, :, None] * frame_reliability[:, None, :]).expand_dims(-1)
    local_side = ops.zeros_like(centre) + Tensor([SIDE_POINT])
    side = centre + to_global(rotation, local_side.expand_dims(2))[:, :, 0]
    side_distance = pair_distances(side, side)
    oxygen = visible[:, :, 3] * frame_reliability
    nitrogen = visible[:, :, 0] * frame_reliability
    hydrogen_bond = oxygen[:, :, None] * nitrogen[:, None, :]
    bond_distance = pair_distances(positions[:, :, 3], positions[:, :, 0])
    bond_basis = _weighted(radial_basis(bond_distance, 1.5, 12.0, 8), hydrogen_bond.expand_dims(-1))

    # R_i (x_j - x_i) = R_i x_j - R_i x_i, as one matrix product over all pairs
    flat = rotation.reshape((batch, tokens * 3, 3))
    rotated = ops.matmul(flat, centre.swapaxes(1, 2)).reshape((batch, tokens, 3, tokens))
    own = ops.matmul(rotation, centre.expand_dims(-1))
    direction = _weighted(
        (rotated - own).transpose((0, 1, 3, 2)), 1.0 / (distance.expand_dims(-1) + 1.0)
    )
    relative = ops.matmul(flat, flat.swapaxes(1, 2)).reshape((batch, tokens, 3, tokens, 3))
    relative = relative.transpose((0, 1, 3, 2, 4)).reshape((batch, tokens, tokens, 9))
    return ops.cat(
        (
            _weighted(radial_basis(distance, 2.0, 22.0, 16), pair_known),
            _weighted(radial_basis(side_distance, 2.0, 22.0, 16), frame_ij),
            bond_basis,
            bond_basis.swapaxes(1, 2),
            _weighted(direction, frame_i),
            _weighted(relative, frame_ij),
            pair_known,
        ),
        axis=-1,
    )


def superpose(
    mobile: Float[Tensor, "batch atom 3"],
    target: Float[Tensor, "batch atom 3"],
    weight: Float[Tensor, "batch atom"],
) -> Float[Tensor, "batch atom 3"]:
    """Rotate and translate ``mobile`` onto ``target`` with the least weighted squared deviation.

    The optimal proper rotation is the dominant eigenvector of Horn's 4x4 quaternion matrix
    (J. Opt. Soc. Am. A 4, 629, 1987), found by squaring the matrix ten times; reflections cannot
    occur. With coinciding leading eigenvalues the rotation is not unique and any is returned.
    """
    total = weight.sum(axis=1, keepdims=True).expand_dims(-1) + 1e-8
    share = weight.expand_dims(-1)
    mobile_centre = (mobile * share).sum(axis=1, keepdims=True) / total
    target_centre = (target * share).sum(axis=1, keepdims=True) / total
    left = mobile - mobile_centre
    right = target - target_centre
    covariance = ops.matmul((left * share).swapaxes(1, 2), right)
    xx, xy, xz = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 0, 2]
    yx, yy, yz = covariance[:, 1, 0], covariance[:, 1, 1], covariance[:, 1, 2]
    zx, zy, zz = covariance[:, 2, 0], covariance[:, 2, 1], covariance[:, 2, 2]
    horn = ops.stack(
        (
            xx + yy + zz, yz - zy, zx - xz, xy - yx,
            yz - zy, xx - yy - zz, xy + yx, zx + xz,
            zx - xz, xy + yx, yy - xx - zz, yz + zy,
            xy - yx, zx + xz, yz + zy, zz - xx - yy,
        ),
        axis=-1,
    ).reshape((-1, 4, 4))  # fmt: skip
    scale = ops.sqrt(ops.square(horn).sum(axis=(1, 2), keepdims=True)) + 1e-8
    identity = ops.eye(4, 4, horn.dtype)
    # all eigenvalues of horn / scale lie in [-1, 1]: the shift makes the largest one dominant
    power = horn / scale + identity * 1.001
    for _ in range(10):
        power = ops.matmul(power, power)
        power = power / ops.sqrt(ops.square(power).sum(axis=(1, 2), keepdims=True))
    # the column of largest norm is the eigenvector; its norm^2 is proportional to the diagonal
    diagonal = (power * identity).sum(axis=-1)
    column = one_hot(diagonal.argmax(axis=-1), 4)
    quaternion = ops.matmul(power, column.expand_dims(-1))[:, :, 0]
    quaternion = quaternion * ops.rsqrt(ops.square(quaternion).sum(axis=-1, keepdims=True) + 1e-12)
    w, x, y, z = quaternion[:, 0], quaternion[:, 1], quaternion[:, 2], quaternion[:, 3]
    rotation = ops.stack(
        (
            1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y),
            2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x),
            2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y),
        ),
        axis=-1,
    ).reshape((-1, 3, 3))  # fmt: skip
    return ops.matmul(left, rotation) + target_centre
