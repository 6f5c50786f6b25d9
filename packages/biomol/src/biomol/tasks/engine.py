"""What a task asks of a model: the protocol that the network and every baseline implement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from biomol.data.complex import Complex
from scimind.typing import Bool, Float, Int


@runtime_checkable
class Engine(Protocol):
    """Predictions of one model for a list of records, in the order of the list.

    Engines pad, batch and bucket as they like. A record an engine cannot take (too many tokens)
    raises ``InputError``; callers that need one answer per record ask record by record.
    """

    @property
    def property_names(self) -> Sequence[str]:
        """Scalar properties that ``properties`` knows."""
        ...

    @property
    def token_label_names(self) -> Sequence[str]:
        """Labels that ``token_probabilities`` knows, such as ``"ss3"``."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts for result files.

        Keys: ``model``, ``parameters``, ``checkpoint_hash``, ``config_hash``, ``precision``,
        ``seed``, ``ops`` (operator to chosen implementation) and ``notes`` (a list: missing
        kernels, substitutes, approximations).
        """
        ...

    def properties(
        self, complexes: Sequence[Complex], names: Sequence[str], *, use_structure: bool = False
    ) -> Float[np.ndarray, "record property"]:
        """Scalar properties: physical units for regression, probability for 0/1 labels.

        Args:
            complexes: Records.
            names: Names out of ``property_names``.
            use_structure: Read the coordinates of records that have them.
        """
        ...

    def token_probabilities(
        self, complexes: Sequence[Complex], label: str
    ) -> list[Float[np.ndarray, "_token _class"]]:
        """Probability of each class of a per-token label from the sequence (ss3: H, E, C)."""
        ...

    def sequence_probabilities(
        self, complexes: Sequence[Complex], hidden: Sequence[Bool[np.ndarray, " _token"]]
    ) -> list[Float[np.ndarray, "_token _class"]]:
        """Probability of each identity of ``vocab.TOKENS`` given the backbone, in one pass.

        Args:
            complexes: Records with coordinates.
            hidden: Tokens whose identity (and side chain) the model must not see.
        """
        ...

    def design(
        self,
        complexes: Sequence[Complex],
        hidden: Sequence[Bool[np.ndarray, " _token"]],
        *,
        temperature: float,
        seed: int,
        num_steps: int,
    ) -> list[Int[np.ndarray, " _token"]]:
        """Identities sampled for the hidden tokens in ``num_steps``; the others are unchanged."""
        ...

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
        """Positions in angstrom; atoms marked ``given`` keep those of the record.

        ``noise`` 1 samples, 0 asks for the one central answer.
        """
        ...
