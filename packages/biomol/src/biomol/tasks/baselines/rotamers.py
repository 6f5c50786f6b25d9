"""Side chains without a model: the mean, and the most common rotamer, of each residue type."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from biomol.chem.geometry import to_global, token_frames
from biomol.chem.vocab import NUM_SLOTS, REPRESENTATIVE_SLOT
from biomol.data.complex import Complex
from biomol.data.offsets import local_positions, mean_offsets
from biomol.metrics.side_chains import chi_angles, side_chain_mask
from biomol.tasks.prediction import PredictedStructure
from scimind.eval import Baseline, TaskData
from scimind.typing import Bool, Float

ROTAMER_DEGREES = 120.0
_ANYWHERE = -1


@dataclass(frozen=True, eq=False)
class Rotamers:
    """Local atom positions by identity.

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
        if not most_common:
            return cls(dict(enumerate(mean_offsets(records))))
        found: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        rotamer: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        for record in records:
            local = local_positions(record)
            angles, known = chi_angles(record.coords, record.coord_mask, record.restype)
            thirds = np.where(known, (angles % 360.0) // ROTAMER_DEGREES, _ANYWHERE).astype(int)
            for token in np.flatnonzero(np.isfinite(local).any(axis=(1, 2))):
                identity = int(record.restype[token])
                found[identity].append(local[token])
                rotamer[identity].append(tuple(thirds[token].tolist()))
        positions = {}
        for identity, members in found.items():
            complete = [r for r in rotamer[identity] if max(r, default=0) > _ANYWHERE]
            best = Counter(complete or rotamer[identity]).most_common(1)[0][0]
            chosen = np.array(members)[[r == best for r in rotamer[identity]]]
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
        empty = np.full((NUM_SLOTS, 3), np.nan)
        local = np.stack([self.positions.get(int(t), empty) for t in record.restype])
        return on_frames(record, local, wanted)


def on_frames(
    record: Complex,
    local: Float[np.ndarray, "token slot 3"],
    wanted: Bool[np.ndarray, "token slot"],
) -> tuple[Float[np.ndarray, "token slot 3"], Bool[np.ndarray, "token slot"]]:
    """Positions of a record with the wanted atoms at local positions, and which were placed."""
    frames, framed = token_frames(record.coords, record.coord_mask)
    coords = to_global(frames, record.coords[:, REPRESENTATIVE_SLOT].astype(float), local)
    placed = wanted & framed[:, None] & np.isfinite(coords).all(axis=-1)
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
