"""The property and label vocabulary of a model: names, kinds, units and standardisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from biomol.config.model import ModelConfig
from biomol.data.complex import Complex
from biomol.data.features import pad
from scimind.typing import Float


@dataclass(frozen=True, kw_only=True)
class PropertyScale:
    """Names and scales of the outputs; saved with every checkpoint (in its model configuration).

    Attributes:
        names: Scalar properties in output order.
        binary: Those that are 0/1 labels; they are not standardised.
        mean: Mean over the training records, in the property's own unit.
        std: Standard deviation over the training records.
        units: Unit by property name, where known.
        labels: Per-token labels, name to number of classes.
    """

    names: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        records: Iterable[Complex],
        *,
        names: Sequence[str],
        binary: Sequence[str] = (),
        units: dict[str, str] | None = None,
        labels: dict[str, int] | None = None,
    ) -> PropertyScale:
        """Measure mean and spread on training records; constant properties get spread 1."""
        values: dict[str, list[float]] = {name: [] for name in names}
        for record in records:
            for name, value in record.properties.items():
                if name in values and np.isfinite(value):
                    values[name].append(value)
        mean, std = [], []
        for name in names:
            known = np.array(values[name] or [0.0])
            scaled = name not in binary
            mean.append(float(known.mean()) if scaled else 0.0)
            spread = float(known.std()) if scaled else 1.0
            std.append(spread if spread > 0 else 1.0)
        return cls(
            names=tuple(names),
            binary=tuple(name for name in names if name in set(binary)),
            mean=tuple(mean),
            std=tuple(std),
            units=dict(units or {}),
            labels=dict(labels or {}),
        )

    def features(self, record: Complex, num_tokens: int) -> dict[str, np.ndarray]:
        """Padded arrays of one record with standardised properties as ``prop`` (P)."""
        arrays = pad(record, num_tokens, self.names, tuple(self.labels))
        mean = np.array(self.mean, np.float32)
        std = np.array(self.std, np.float32)
        arrays["prop"] = (arrays["prop"] - mean) / std
        return arrays

    def restore(
        self, values: Float[np.ndarray, "sample property"]
    ) -> Float[np.ndarray, "sample property"]:
        """Network outputs in the property's own unit; probability of 1 for binary ones."""
        binary = np.isin(self.names, self.binary)
        physical = values * np.array(self.std) + np.array(self.mean)
        with np.errstate(over="ignore"):
            probability = 1.0 / (1.0 + np.exp(-values))
        return np.where(binary, probability, physical)

    @classmethod
    def of_model(cls, config: ModelConfig) -> PropertyScale:
        """The vocabulary that a model configuration carries."""
        return cls(
            names=tuple(config.properties),
            binary=tuple(config.binary_properties),
            mean=tuple(config.property_mean),
            std=tuple(config.property_std),
            units=dict(config.property_units),
            labels=dict(config.token_labels),
        )

    def configure(self, config: ModelConfig) -> ModelConfig:
        """The model configuration with this vocabulary as its outputs."""
        return replace(
            config,
            properties=list(self.names),
            binary_properties=list(self.binary),
            property_mean=list(self.mean),
            property_std=list(self.std),
            property_units=dict(self.units),
            token_labels=dict(self.labels),
        )
