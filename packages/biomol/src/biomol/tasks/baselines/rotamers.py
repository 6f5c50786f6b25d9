"""Side chains without a model: the mean, and the most common rotamer, of each residue type."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from biomol.chem.vocab import NUM_SLOTS
from biomol.data.complex import Complex
from biomol.metrics.side_chains import chi_angles, side_chain_mask
from biomol.tasks.prediction import PredictedStructure
from scimind.eval import Baseline, TaskData
from scimind.typing import Bool, Float

ROTAMER_DEGREES = 120.0
_ANYWHERE = -1


def local_frames(
    coords: Float[np.ndarray, "token slot 3"],
) -> tuple[Float[np.ndarray, "token 3 3"], Float[np.ndarray, "token 3"]]:
    """Frame of each residue: CA is the origin, C on the x axis, N in the xy plane.

    Returns:
        Rows of axes, and origins: ``(x - origin) @ axes.T`` are local coordinates.
    """
    n, ca, c = (coords[:, slot].astype(np.float64) for slot in range(3))
    x = _unit(c - ca)
    y = _unit((n - ca) - np.sum((n - ca) * x, axis=-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], axis=1), ca


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.where(length > 0.0, length, 1.0))


@dataclass(frozen=True, eq=False)
class Rotamers:
    """Local side-chain positions by identity.

    Attributes:
        positions: Local position of each slot, by identity; NaN where never seen.
    """

    positions: Mapping[int, Float[np.ndarray, "slot 3"]]

    @classmethod
    def fit(cls, records: Sequence[Complex], *, most_common: bool) -> Rotamers:
        """Averages the local side-chain positions of each residue type.

        Args:
            records: Chains to learn from.
            most_common: Average over the members of the most common rotamer only (all torsions
                in the same thirds of the circle, centred on 60, 180 and -60 degrees).
        """
        found: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        rotamer: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        for record in records:
            usable = record.coord_mask[:, :3].all(axis=1)
            axes, origin = local_frames(record.coords)
            local = np.einsum("tsj,tij->tsi", record.coords - origin[:, None], axes)
            local[~(record.coord_mask & side_chain_mask(record.mol_type, record.atom_mask))] = (
                np.nan
            )
            angles, known = chi_angles(record.coords, record.coord_mask, record.restype)
            thirds = np.where(known, (angles % 360.0) // ROTAMER_DEGREES, _ANYWHERE).astype(int)
            for token in np.flatnonzero(usable):
                identity = int(record.restype[token])
                found[identity].append(local[token])
                rotamer[identity].append(tuple(thirds[token].tolist()))
        positions = {}
        for identity, members in found.items():
            chosen = np.array(members)
            if most_common:
                complete = [r for r in rotamer[identity] if max(r, default=0) > _ANYWHERE]
                best = Counter(complete or rotamer[identity]).most_common(1)[0][0]
                chosen = chosen[[r == best for r in rotamer[identity]]]
            seen = ~np.isnan(chosen)
            total = np.where(seen, chosen, 0.0).sum(axis=0)
            count = seen.sum(axis=0)
            positions[identity] = np.divide(
                total, count, out=np.full((NUM_SLOTS, 3), np.nan), where=count > 0
            )
        return cls(positions)

    def place(
        self, record: Complex, wanted: Bool[np.ndarray, "token slot"]
    ) -> tuple[Float[np.ndarray, "token slot 3"], Bool[np.ndarray, "token slot"]]:
        """Side chains on the frames of a backbone.

        Args:
            record: Chain with backbone positions.
            wanted: Atoms to place.

        Returns:
            The positions of the record with the placed atoms, and which were placed: those of
            residues with a resolved frame and a known type.
        """
        axes, origin = local_frames(record.coords)
        empty = np.full((NUM_SLOTS, 3), np.nan)
        local = np.stack([self.positions.get(int(t), empty) for t in record.restype])
        coords = np.einsum("tsi,tij->tsj", local, axes) + origin[:, None]
        frame = record.coord_mask[:, :3].all(axis=1)
        placed = wanted & frame[:, None] & np.isfinite(coords).all(axis=-1)
        return np.where(placed[..., None], coords, record.coords), placed


def mean_side_chain() -> Baseline:
    """Mean local-frame position of each atom of a residue type over the training chains."""
    return _baseline("mean side chain of the residue type", "trivial", most_common=False)


def common_rotamer() -> Baseline:
    """Mean position within the most common rotamer of a residue type."""
    return _baseline("most common rotamer of the residue type", "classical", most_common=True)


def _baseline(name: str, kind: Literal["trivial", "classical"], *, most_common: bool) -> Baseline:
    def predict(data: TaskData) -> Iterator[PredictedStructure]:
        rotamers = Rotamers.fit([item.target for item in data.training], most_common=most_common)
        for item in data.items:
            wanted = side_chain_mask(item.inputs.mol_type, item.inputs.atom_mask)
            coords, placed = rotamers.place(item.inputs, wanted)
            yield PredictedStructure(coords=coords, present=placed | item.inputs.coord_mask)

    return Baseline(name=name, kind=kind, predict=predict)
