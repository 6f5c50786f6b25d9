"""Chains kept as letters; the record is built when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from biomol.chem.vocab import MolType
from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceRecords(Sequence[Complex]):
    """Single chains without coordinates.

    Attributes:
        sequences: Letters accepted by ``biomol.io.fasta.clean_sequence``.
        names: Name of each record.
        mol_type: Type of all chains.
        source: File they came from.
        properties: Labels of each record, or empty.
        token_labels: Per label name, the labels of each record.
    """

    sequences: tuple[str, ...]
    names: tuple[str, ...]
    mol_type: MolType
    source: str
    properties: tuple[Mapping[str, float], ...] = ()
    token_labels: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sequences)

    @overload
    def __getitem__(self, index: int) -> Complex: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Complex]: ...
    def __getitem__(self, index: int | slice) -> Complex | Sequence[Complex]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return complex_from_sequence(
            self.sequences[index],
            self.mol_type,
            self.names[index],
            source=self.source,
            properties=dict(self.properties[index]) if self.properties else {},
            token_labels={name: labels[index] for name, labels in self.token_labels.items()},
        )

    @property
    def num_tokens(self) -> np.ndarray:
        """Number of tokens of each record, without building it."""
        return np.array([len(sequence) for sequence in self.sequences])
