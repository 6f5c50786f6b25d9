"""What every data set is: records, a split, the names and kinds of its labels, and refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biomol.data.complex import Complex
from biomol.data.splits import Split
from biomol.io.rejection import Rejection
from biomol.io.tables import Property


@dataclass(frozen=True)
class TokenLabel:
    """A class label of each token.

    Attributes:
        name: Name, the key of ``Complex.token_labels``.
        classes: What class 0, 1, ... stands for.
    """

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A named collection of records.

    Attributes:
        name: Name of the data set.
        records: The records; building one may happen on access.
        split: Indices of train, valid and test.
        properties: Scalar labels that occur.
        labels: Token labels that occur.
        keys: What identifies each record to an outsider: its SMILES or sequence, or the chain.
        rejected: Rows, records and files that were refused.
        digest: SHA-256 of the source files.
    """

    name: str
    records: Sequence[Complex]
    split: Split
    properties: tuple[Property, ...] = ()
    labels: tuple[TokenLabel, ...] = ()
    keys: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    digest: str = ""

    def values(self, property_name: str) -> np.ndarray:
        """Value of a property for every record, NaN where it is unknown.

        Args:
            property_name: One of ``properties``.
        """
        return np.array([record.properties.get(property_name, np.nan) for record in self.records])


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
