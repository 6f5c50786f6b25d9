"""Using a trained network: properties, identities, sequences, structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from biomol.sampling.engine import BioMolEngine


def load_engine(checkpoint: str, device: str = "cpu", precision: str = "fp32") -> BioMolEngine:
    """The model of a checkpoint, ready to answer.

    Args:
        checkpoint: Checkpoint folder, or run folder (its best checkpoint is taken).
        device: ``"cpu"`` or ``"ascend"``.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``.

    Raises:
        CheckpointError: It is missing, damaged or not of this package.
        EnvironmentProblem: The device is not there.
    """
    from biomol.sampling.loading import load

    return load(checkpoint, device=device, precision=precision)
