"""Which dtype parameters, computation and reductions use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scimind.device.capabilities import probe
from scimind.errors import ConfigError, EnvironmentProblem

NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Dtypes by purpose, as MindSpore dtype names.

    Args:
        name: ``"fp32"``, ``"fp16"`` or ``"bf16"``.
        param: Parameters and optimizer state.
        compute: Matrix products and activations.
        reduce: Norm statistics, softmax, losses, gradient all-reduce.
        loss_scale: Whether gradients need a loss scale to stay above the smallest number.
    """

    name: str
    param: str = "float32"
    compute: str = "float32"
    reduce: str = "float32"
    loss_scale: bool = False

    def dtype(self, purpose: str) -> Any:
        """The MindSpore dtype for ``purpose``: ``"param"``, ``"compute"`` or ``"reduce"``."""
        import mindspore

        return getattr(mindspore, getattr(self, purpose))


def precision_policy(name: str, device: str) -> Precision:
    """The policy called ``name`` for ``device``.

    Raises:
        ConfigError: Unknown name.
        EnvironmentProblem: The device has no matrix product in that dtype.
    """
    if name not in NAMES:
        raise ConfigError(f"precision={name!r} is unknown; choose one of {', '.join(NAMES)}")
    if name != "fp32" and not probe(f"matmul.{NAMES[name]}"):
        usable = [other for other in NAMES if other == "fp32" or probe(f"matmul.{NAMES[other]}")]
        raise EnvironmentProblem(
            f"precision={name} needs a {NAMES[name]} matrix product, which {device} does not have; "
            f"use precision={' or precision='.join(usable)}"
        )
    return Precision(name=name, compute=NAMES[name], loss_scale=name == "fp16")
