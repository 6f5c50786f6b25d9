"""What is predicted for a structure, by models and baselines alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scimind.typing import Bool, Float


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedStructure:
    """Positions of the atoms of a record.

    Attributes:
        coords: Positions, angstrom.
        present: Atoms that were predicted.
    """

    coords: Float[np.ndarray, "token slot 3"]
    present: Bool[np.ndarray, "token slot"]
