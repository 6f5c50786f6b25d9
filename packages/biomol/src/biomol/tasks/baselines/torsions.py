"""Backbone torsions, and the side chains that go with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from biomol.chem.geometry import dihedral
from biomol.data.complex import Complex
from biomol.data.offsets import local_positions, mean_offsets
from biomol.metrics.side_chains import side_chain_mask
from biomol.tasks.baselines.rotamers import on_frames
from biomol.tasks.prediction import PredictedStructure
from scimind.eval import Baseline, TaskData
from scimind.typing import Float

KERNEL_DEGREES = 20.0
TYPE_WEIGHT = 5.0
"""Residues that the mean of the type counts as, beside those of similar torsions."""


def backbone_torsions(record: Complex) -> Float[np.ndarray, "token 2"]:
    """Phi and psi of each residue in degrees; NaN without both neighbours in the chain."""
    torsions = np.full((record.num_tokens, 2), np.nan)
    frame = record.coord_mask[:, :3].all(axis=1)
    n, ca, c = (record.coords[:, slot].astype(np.float64) for slot in range(3))
    linked = (np.diff(record.res_index) == 1) & frame[1:] & frame[:-1]
    inner = np.flatnonzero(linked[1:] & linked[:-1]) + 1
    if len(inner):
        torsions[inner, 0] = np.degrees(dihedral(c[inner - 1], n[inner], ca[inner], c[inner]))
        torsions[inner, 1] = np.degrees(dihedral(n[inner], ca[inner], c[inner], n[inner + 1]))
    return torsions


@dataclass(frozen=True, eq=False)
class BackboneDependent:
    """Local atom positions of each residue type as a function of phi and psi.

    A kernel estimate as in backbone-dependent rotamer libraries: Shapovalov and Dunbrack,
    Structure 19, 844 (2011), here of positions.

    Attributes:
        torsions: Phi and psi of the training residues, by identity.
        positions: Their local positions, NaN where unresolved.
        mean: Mean local positions, by identity.
    """

    torsions: Mapping[int, Float[np.ndarray, "member 2"]]
    positions: Mapping[int, Float[np.ndarray, "member slot 3"]]
    mean: Float[np.ndarray, "identity slot 3"]

    @classmethod
    def fit(cls, records: Sequence[Complex]) -> BackboneDependent:
        """Collects the residues of some chains."""
        torsions: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        positions: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        for record in records:
            local = local_positions(record)
            angles = backbone_torsions(record)
            for token in np.flatnonzero(np.isfinite(angles).all(axis=1)):
                torsions[int(record.restype[token])].append(angles[token])
                positions[int(record.restype[token])].append(local[token])
        return cls(
            {identity: np.array(found) for identity, found in torsions.items()},
            {identity: np.array(found) for identity, found in positions.items()},
            mean_offsets(records),
        )

    def expected(self, record: Complex) -> Float[np.ndarray, "token slot 3"]:
        """Local positions of each residue of a backbone; NaN where the type was never seen."""
        local = self.mean[record.restype].copy()
        for token, angles in enumerate(backbone_torsions(record)):
            identity = int(record.restype[token])
            if identity not in self.torsions or not np.isfinite(angles).all():
                continue
            difference = np.radians(self.torsions[identity] - angles)
            width = np.radians(KERNEL_DEGREES)
            weight = np.exp((np.cos(difference) - 1.0).sum(axis=1) / width**2)[:, None, None]
            members = self.positions[identity]
            seen = np.isfinite(members) * weight
            total = np.where(seen > 0, np.nan_to_num(members), 0.0) * weight
            shared = np.nan_to_num(local[token]) * TYPE_WEIGHT + total.sum(axis=0)
            local[token] = np.where(
                np.isfinite(local[token]), shared / (TYPE_WEIGHT + seen.sum(axis=0)), np.nan
            )
        return np.asarray(local)


def backbone_dependent_side_chain() -> Baseline:
    """Mean local-frame position of each atom of a residue type near its phi and psi."""

    def predict(data: TaskData) -> Iterator[PredictedStructure]:
        library = BackboneDependent.fit([item.target for item in data.training])
        for item in data.items:
            record = item.inputs
            wanted = side_chain_mask(record.mol_type, record.atom_mask)
            coords, placed = on_frames(record, library.expected(record), wanted)
            yield PredictedStructure(coords=coords, present=placed | record.coord_mask)

    return Baseline(
        name="mean side chain of the residue type at its torsions",
        kind="classical",
        predict=predict,
    )
