"""One object that answers every task from one network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from biomol.chem.vocab import NUM_SLOTS, REPRESENTATIVE_SLOT
from biomol.data.complex import Complex
from biomol.data.crop import select_tokens
from biomol.data.noise import (
    SIDE_CHAIN_SIGMA_MAX,
    SIGMA_MAX,
    Levels,
    backbone_mask,
    nothing_hidden,
    resolved,
)
from biomol.data.scaling import PropertyScale
from biomol.model.network import BioMol
from biomol.sampling.inference import Inference, Outputs, Row
from biomol.sampling.schedule import karras_levels
from biomol.sampling.sequence import identity_probabilities, unmask_counts
from biomol.sampling.structure import euler_step, initial_positions, right_hand
from scimind.errors import InputError
from scimind.seeding import numpy_generator
from scimind.typing import Bool, Float, Int


def _padded(mask: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros((size, *mask.shape[1:]), mask.dtype)
    out[: len(mask)] = mask
    return out


class BioMolEngine:
    """Properties, token labels, identities, sequences and structures of complexes.

    Args:
        network: The trained network.
        scale: Its property vocabulary.
        description: What `describe` reports: checkpoint and configuration hashes, notes.
        window: Longest piece that token labels are read from at once, tokens: about the crop of
            training.
    """

    def __init__(
        self,
        network: BioMol,
        scale: PropertyScale,
        description: dict[str, Any] | None = None,
        window: int = 128,
    ) -> None:
        self.inference = Inference(network, scale)
        self.scale = scale
        self.window = window
        self._description = description or {}

    @property
    def property_names(self) -> list[str]:
        """Scalar properties that the network knows."""
        return list(self.scale.names)

    @property
    def token_label_names(self) -> list[str]:
        """Per-token labels that the network knows."""
        return list(self.scale.labels)

    def describe(self) -> dict[str, Any]:
        """Name, size and provenance of the network."""
        return dict(self._description)

    def properties(
        self,
        complexes: Sequence[Complex],
        names: Sequence[str],
        *,
        use_structure: bool = False,
    ) -> Float[np.ndarray, "complex property"]:
        """Scalar properties in their own units, probabilities for binary ones.

        Args:
            complexes: The molecules.
            names: Properties to return, in this order.
            use_structure: Also read the coordinates that the records carry.

        Raises:
            InputError: A name is unknown to the network.
        """
        columns = [self._property_index(name) for name in names]
        rows = []
        for record in complexes:
            features = self.inference.features(record)
            levels = nothing_hidden(features)
            if use_structure:
                levels = Levels(
                    hide_identity=levels.hide_identity,
                    visible=resolved(features),
                    sigma=levels.sigma,
                )
            rows.append(self.inference.row(features, levels))
        tracks = "geometry" if use_structure else "sequence"
        outputs = self.inference.outputs(rows, tracks)
        values = np.stack([output["property"] for output in outputs])
        return self.scale.restore(values.astype(np.float64))[:, columns]

    def token_probabilities(
        self, complexes: Sequence[Complex], label: str
    ) -> list[Float[np.ndarray, "_token _class"]]:
        """Class probabilities of each token, read from overlapping windows of the chain.

        Each token is read from the window in whose middle it stands best.
        """
        start, count = self._label_columns(label)
        rows: list[Row] = []
        places: list[tuple[int, int, int, int]] = []
        for index, record in enumerate(complexes):
            for first, low, high in _windows(record.num_tokens, self.window):
                stop = min(first + self.window, record.num_tokens)
                piece = select_tokens(record, np.arange(first, stop))
                features = self.inference.features(piece)
                rows.append(self.inference.row(features, nothing_hidden(features)))
                places.append((index, first, low, high))
        results = [np.zeros((record.num_tokens, count)) for record in complexes]
        for row, output in self.inference.iterate(rows, "sequence"):
            index, first, low, high = places[row]
            logits = output["label"][low - first : high - first, start : start + count]
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            results[index][low:high] = weights / weights.sum(axis=-1, keepdims=True)
        return results

    def sequence_probabilities(
        self,
        complexes: Sequence[Complex],
        hidden: Sequence[Bool[np.ndarray, " _token"]],
        *,
        temperature: float = 1.0,
    ) -> list[Float[np.ndarray, "_token _identity"]]:
        """Probabilities of the identity of every token when those marked are hidden."""
        rows = [
            self._design_row(record, hide, hide, record.restype)
            for record, hide in zip(complexes, hidden, strict=True)
        ]
        return [
            identity_probabilities(
                output["identity"][: record.num_tokens], record.mol_type, temperature
            )
            for record, output in zip(complexes, self._read(rows), strict=True)
        ]

    def design(
        self,
        complexes: Sequence[Complex],
        hidden: Sequence[Bool[np.ndarray, " _token"]],
        *,
        temperature: float = 0.1,
        seed: int = 0,
        num_steps: int = 16,
    ) -> list[Int[np.ndarray, " _token"]]:
        """Identities for the hidden tokens, the most confident ones decided first.

        Returns:
            Identity of every token; those not hidden are unchanged.
        """
        designs = [record.restype.copy() for record in complexes]
        masks = [np.array(hide, bool) for hide in hidden]
        plans = [unmask_counts(int(mask.sum()), num_steps) for mask in masks]
        generators = [
            numpy_generator(seed, "design", record.name, index)
            for index, record in enumerate(complexes)
        ]
        for step in range(max((len(plan) for plan in plans), default=0)):
            active = [index for index, plan in enumerate(plans) if step < len(plan)]
            rows = [
                self._design_row(complexes[index], masks[index], hidden[index], designs[index])
                for index in active
            ]
            for index, output in zip(active, self._read(rows), strict=True):
                record, mask, rng = complexes[index], masks[index], generators[index]
                probabilities = identity_probabilities(
                    output["identity"][: record.num_tokens], record.mol_type, temperature
                )
                confidence = np.where(mask, probabilities.max(axis=-1), -1.0)
                chosen = np.argsort(-confidence, kind="stable")[: plans[index][step]]
                for token in chosen:
                    designs[index][token] = rng.choice(
                        probabilities.shape[1], p=probabilities[token]
                    )
                mask[chosen] = False
        return designs

    def structures(
        self,
        complexes: Sequence[Complex],
        given: Sequence[Bool[np.ndarray, "_token _slot"]],
        *,
        seed: int = 0,
        num_steps: int = 20,
        num_samples: int = 1,
        noise: float = 1.0,
    ) -> list[Float[np.ndarray, "_sample _token _slot 3"]]:
        """Positions of all atoms that exist chemically, in angstrom; given atoms stay in place.

        Args:
            complexes: The molecules.
            given: Atoms that keep the position of their record.
            seed: Seed of the initial noise.
            num_steps: Noise levels on the way down.
            num_samples: Independent samples of each molecule.
            noise: Scale of the initial noise: 1 draws from the distribution that was learned, 0
                follows its centre, one answer near the most probable one.
        """
        jobs = [
            _StructureJob(
                self.inference, record, mask, numpy_generator(seed, "structure", record.name, n)
            )
            for record, mask in zip(complexes, given, strict=True)
            for n in range(num_samples)
        ]
        levels = [karras_levels(num_steps, sigma_max=job.sigma_max) for job in jobs]
        for job, path in zip(jobs, levels, strict=True):
            job.start(noise * float(path[0]))
        for step in range(num_steps):
            rows = [job.row_at(float(path[step])) for job, path in zip(jobs, levels, strict=True)]
            for index, output in self.inference.iterate(rows, "structure"):
                sigma, next_sigma = levels[index][step : step + 2]
                jobs[index].advance(output["positions"], float(sigma), float(next_sigma))
        samples = [job.result() for job in jobs]
        return [
            np.stack(samples[index * num_samples : (index + 1) * num_samples])
            for index in range(len(complexes))
        ]

    def _read(self, rows: list[Row]) -> list[Outputs]:
        """Outputs of rows, with the geometry track only where some atom is visible."""
        results: list[Outputs] = [{} for _ in rows]
        for tracks in ("sequence", "geometry"):
            wanted = [
                index
                for index, row in enumerate(rows)
                if bool(row["atom_visible"].any()) == (tracks == "geometry")
            ]
            outputs = self.inference.outputs([rows[index] for index in wanted], tracks)
            for index, output in zip(wanted, outputs, strict=True):
                results[index] = output
        return results

    def _design_row(
        self, record: Complex, hide: np.ndarray, designed: np.ndarray, restype: np.ndarray
    ) -> Row:
        """What is seen while some of the designed tokens are still hidden.

        A designed token has no side chain, charge or handedness, also once it is decided: those
        of the record would tell the other tokens whether the choice was the native one.
        """
        features = self.inference.features(record)
        size = len(features["mol_type"])
        features["restype"] = _padded(restype, size)
        free = _padded(np.asarray(designed, bool), size)[:, None]
        features["atom_charge"] = np.where(free, 0, features["atom_charge"])
        features["chirality"] = np.where(free, 0, features["chirality"])
        visible = resolved(features) & (backbone_mask(features["mol_type"]) | ~free)
        levels = Levels(
            hide_identity=_padded(np.asarray(hide, bool), size),
            visible=visible,
            sigma=np.zeros(visible.shape, np.float32),
        )
        return self.inference.row(features, levels)

    def _property_index(self, name: str) -> int:
        if name not in self.scale.names:
            raise InputError(
                f"the network does not know the property {name!r}; it knows "
                f"{', '.join(self.scale.names) or 'none'}. Train with a table that has it",
                rule="property.unknown",
            )
        return self.scale.names.index(name)

    def _label_columns(self, label: str) -> tuple[int, int]:
        start = 0
        for name, count in self.scale.labels.items():
            if name == label:
                return start, count
            start += count
        raise InputError(
            f"the network does not know the token label {label!r}; it knows "
            f"{', '.join(self.scale.labels) or 'none'}",
            rule="label.unknown",
        )


def _windows(count: int, size: int) -> list[tuple[int, int, int]]:
    """(first token of the window, first and last token read from it), covering all tokens once."""
    if count <= size:
        return [(0, 0, count)]
    stride = size // 2
    starts = [*range(0, count - size, stride), count - size]
    edges = [0, *((a + b + size) // 2 for a, b in pairwise(starts)), count]
    return [(start, edges[i], edges[i + 1]) for i, start in enumerate(starts)]


class _StructureJob:
    """One sample on its way down the noise levels."""

    def __init__(
        self, inference: Inference, record: Complex, given: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.record = record
        self.rng = rng
        features = inference.features(record)
        size = len(features["mol_type"])
        self.given = _padded(np.asarray(given, bool), size) & resolved(features)
        exists = features["atom_mask"].astype(bool)
        self.generated = exists & ~self.given
        self.free = not bool(self.given.any())
        anchored = not self.generated[:, REPRESENTATIVE_SLOT].any()
        self.sigma_max = SIDE_CHAIN_SIGMA_MAX if anchored else SIGMA_MAX
        clean = features["coords"].astype(np.float32)
        self.centre = np.zeros(3, np.float32) if self.free else clean[self.given].mean(axis=0)
        self.clean = np.where(self.given[..., None], clean - self.centre, np.float32(0.0))
        levels = Levels(
            hide_identity=np.zeros(size, bool),
            visible=self.given,
            sigma=np.zeros((size, NUM_SLOTS), np.float32),
        )
        self.row = inference.row(features, levels)
        self.row["atom_visible"] = exists.astype(np.float32)
        self.positions = self.clean

    def start(self, sigma: float) -> None:
        """Draw the initial noise."""
        count = self.record.num_tokens
        start = initial_positions(
            self.clean[:count], self.given[:count], self.generated[:count], sigma, self.rng
        )
        self.positions = _padded(start, len(self.given))

    def row_at(self, sigma: float) -> Row:
        """Network inputs at a noise level."""
        levels = np.where(self.generated, np.float32(sigma), np.float32(0.0))
        return {**self.row, "positions": self.positions, "sigma": levels}

    def advance(self, clean: np.ndarray, sigma: float, next_sigma: float) -> None:
        """Take the network's answer at ``sigma`` down to ``next_sigma``."""
        self.positions = euler_step(
            self.positions, clean, self.generated, sigma, next_sigma, free=self.free
        )

    def result(self) -> np.ndarray:
        """Positions in the frame of the input, of the right hand if free, 0 in empty slots."""
        count = self.record.num_tokens
        exists = (self.given | self.generated)[:count, :, None]
        positions = np.where(exists, self.positions[:count] + self.centre, np.float32(0.0))
        return right_hand(self.record, positions) if self.free else positions
