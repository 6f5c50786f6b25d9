"""An engine without a network: averages of its training records.

It answers every question of the protocol, so it is what a trained model is compared with and
what the commands are tested with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biomol.chem.vocab import (
    DNA_CODES,
    NUM_SLOTS,
    NUM_TOKENS,
    PROTEIN_CODES,
    RNA_CODES,
    TOKEN_ID,
    MolType,
)
from biomol.data.complex import Complex
from biomol.metrics.side_chains import side_chain_mask
from biomol.tasks.baselines.backbone import extended_trace
from biomol.tasks.baselines.rotamers import Rotamers
from scimind.errors import InputError
from scimind.seeding import numpy_generator
from scimind.typing import Bool, Float, Int

_ALPHABETS = {
    MolType.PROTEIN: PROTEIN_CODES,
    MolType.RNA: RNA_CODES,
    MolType.DNA: DNA_CODES,
}
_COMPONENT_SPACING = 12.0


@dataclass(frozen=True, eq=False)
class AverageEngine:
    """Means, frequencies, reference conformers and mean side chains.

    Attributes:
        means: Mean of each property.
        classes: Frequency of each class of each token label.
        frequencies: Frequency of each identity, by molecule type.
        rotamers: Mean side chain of each residue type.
    """

    means: Mapping[str, float]
    classes: Mapping[str, Float[np.ndarray, " class"]]
    frequencies: Mapping[int, Float[np.ndarray, " identity"]]
    rotamers: Rotamers

    @classmethod
    def fit(cls, records: Sequence[Complex]) -> AverageEngine:
        """Averages over some records.

        Args:
            records: Training records, with whatever labels and positions they have.
        """
        values: dict[str, list[float]] = {}
        classes: dict[str, np.ndarray] = {}
        frequencies = {int(kind): np.zeros(NUM_TOKENS) for kind in _ALPHABETS}
        for kind, codes in _ALPHABETS.items():
            frequencies[int(kind)][[TOKEN_ID[code] for code in codes]] = 1.0
        for record in records:
            for name, value in record.properties.items():
                values.setdefault(name, []).append(value)
            for name, labels in record.token_labels.items():
                counts = np.bincount(labels[labels >= 0])
                found = classes.get(name, np.zeros(0))
                size = max(len(found), len(counts))
                classes[name] = np.pad(found, (0, size - len(found))) + np.pad(
                    counts, (0, size - len(counts))
                )
            for kind in _ALPHABETS:
                seen = record.restype[record.mol_type == kind]
                allowed = frequencies[int(kind)] > 0
                frequencies[int(kind)] += np.bincount(seen, minlength=NUM_TOKENS) * allowed
        proteins = [record for record in records if (record.mol_type == MolType.PROTEIN).any()]
        return cls(
            means={name: math.fsum(found) / len(found) for name, found in values.items()},
            classes={name: counts / counts.sum() for name, counts in classes.items()},
            frequencies={kind: counts / counts.sum() for kind, counts in frequencies.items()},
            rotamers=Rotamers.fit(proteins, most_common=False),
        )

    @property
    def property_names(self) -> Sequence[str]:
        """See ``Engine``."""
        return tuple(self.means)

    @property
    def token_label_names(self) -> Sequence[str]:
        """See ``Engine``."""
        return tuple(self.classes)

    def describe(self) -> dict[str, Any]:
        """See ``Engine``."""
        return {
            "model": "averages of the training records",
            "parameters": len(self.means) + sum(map(len, self.classes.values())),
            "checkpoint_hash": "",
            "config_hash": "",
            "precision": "fp32",
            "seed": 0,
            "ops": {},
            "notes": ["no network: averages of the training records"],
        }

    def properties(
        self, complexes: Sequence[Complex], names: Sequence[str], *, use_structure: bool = False
    ) -> Float[np.ndarray, "record property"]:
        """The training mean of each property."""
        del use_structure
        unknown = [name for name in names if name not in self.means]
        if unknown:
            raise InputError(
                f"property {unknown[0]!r} is not among {', '.join(self.means) or 'none'}",
                rule="property.unknown",
            )
        return np.tile([self.means[name] for name in names], (len(complexes), 1))

    def token_probabilities(
        self, complexes: Sequence[Complex], label: str
    ) -> list[Float[np.ndarray, "_token _class"]]:
        """The training frequency of each class."""
        if label not in self.classes:
            raise InputError(
                f"label {label!r} is not among {', '.join(self.classes) or 'none'}",
                rule="label.unknown",
            )
        return [np.tile(self.classes[label], (record.num_tokens, 1)) for record in complexes]

    def sequence_probabilities(
        self, complexes: Sequence[Complex], hidden: Sequence[Bool[np.ndarray, " _token"]]
    ) -> list[Float[np.ndarray, "_token _class"]]:
        """The training frequency of each identity of the token's molecule type."""
        found = []
        for record, hide in zip(complexes, hidden, strict=True):
            rows = np.zeros((record.num_tokens, NUM_TOKENS))
            rows[np.arange(record.num_tokens), record.restype] = 1.0
            for kind, share in self.frequencies.items():
                rows[hide & (record.mol_type == kind)] = share
            found.append(rows)
        return found

    def design(
        self,
        complexes: Sequence[Complex],
        hidden: Sequence[Bool[np.ndarray, " _token"]],
        *,
        temperature: float,
        seed: int,
        num_steps: int,
    ) -> list[Int[np.ndarray, " _token"]]:
        """Independent draws from the frequencies; ``num_steps`` has no effect."""
        del num_steps
        designs = []
        rows = self.sequence_probabilities(complexes, hidden)
        for record, hide, probabilities in zip(complexes, hidden, rows, strict=True):
            rng = numpy_generator(seed, "design", record.name)
            restype = record.restype.copy()
            for token in np.flatnonzero(hide):
                with np.errstate(divide="ignore"):
                    logits = np.log(probabilities[token]) / max(temperature, 1e-3)
                weights = np.exp(logits - logits.max())
                restype[token] = rng.choice(NUM_TOKENS, p=weights / weights.sum())
            designs.append(restype)
        return designs

    def structures(
        self,
        complexes: Sequence[Complex],
        given: Sequence[Bool[np.ndarray, "_token _slot"]],
        *,
        seed: int,
        num_steps: int,
        num_samples: int = 1,
        noise: float = 1.0,
    ) -> list[Float[np.ndarray, "_sample _token _slot 3"]]:
        """Reference conformers strung along a line, mean side chains on given backbones."""
        del seed, num_steps, noise
        found = []
        for record, known in zip(complexes, given, strict=True):
            coords = self._conformers(record)
            coords = np.where(known[..., None], record.coords, coords)
            wanted = side_chain_mask(record.mol_type, record.atom_mask) & ~known
            placed, where = self.rotamers.place(record, wanted & known[:, :3].all(1)[:, None])
            coords = np.where(where[..., None], placed, coords).astype(np.float32)
            coords[~record.atom_mask] = 0.0
            found.append(np.repeat(coords[None], num_samples, axis=0))
        return found

    def _conformers(self, record: Complex) -> np.ndarray:
        """Ideal residues along an extended strand; ligands in their own conformer beside it."""
        coords = np.zeros((record.num_tokens, NUM_SLOTS, 3))
        for chain in np.unique(record.chain_id):
            tokens = np.flatnonzero(record.chain_id == chain)
            shift = np.array([_COMPONENT_SPACING * int(chain), 0.0, 0.0])
            ideal = record.ref_pos[tokens].astype(np.float64)
            if (record.mol_type[tokens] == MolType.ATOM).all():
                coords[tokens] = ideal + shift
                continue
            trace = extended_trace(int(record.res_index[tokens].max()) + 1)
            offset = trace[record.res_index[tokens]] + shift
            coords[tokens] = ideal - ideal[:, 1:2] + offset[:, None]
        return coords
