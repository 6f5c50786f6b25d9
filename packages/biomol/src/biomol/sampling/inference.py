"""Runs the network on lists of complexes with few compiled shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from biomol.data import sources
from biomol.data.batch import Inputs
from biomol.data.complex import Complex
from biomol.data.features import BUCKETS, bucket_of
from biomol.data.noise import Levels, corrupt
from biomol.data.scaling import PropertyScale
from biomol.model.network import BioMol
from scimind.graphs import kept, signature
from scimind.nn import evaluation_mode

MAX_PAIRS = 32_768
"""Token pairs per batch: MindSpore keeps the memory of every compiled shape."""

Row = dict[str, np.ndarray]
Outputs = dict[str, np.ndarray]


class _Forward(nn.Cell):
    """The network as one graph per shape, returning only what the tracks produce."""

    def __init__(self, network: BioMol, tracks: str) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.tracks = tracks
        self.key = Tensor(np.zeros(2, np.int32))
        # a None among the outputs of a graph makes MindSpore run it with dynamic types
        names = ["identity"]
        names += ["property"] if network.has_properties else []
        names += ["label"] if network.has_labels else []
        names += ["positions"] if tracks == "structure" else []
        self.names = tuple(names)

    @ms.jit
    def construct(self, *inputs):  # type: ignore[no-untyped-def]
        identity, properties, labels, clean, *_ = self.network(self.key, self.tracks, *inputs)
        outputs: tuple[Tensor, ...] = (identity,)
        if self.network.has_properties:
            outputs = (*outputs, properties)
        if self.network.has_labels:
            outputs = (*outputs, labels)
        if self.tracks == "structure":
            outputs = (*outputs, clean)
        return outputs


def batch_size(num_tokens: int) -> int:
    """Complexes per batch of a bucket."""
    return sources.batch_size(num_tokens, 64, MAX_PAIRS)


class Inference:
    """Forward passes in evaluation mode, padded to the buckets of `biomol.data.features`.

    The mode of the network is set for each pass and left as it was: the network may be in training.

    Args:
        network: The trained network.
        scale: Its property vocabulary.
    """

    def __init__(self, network: BioMol, scale: PropertyScale) -> None:
        self.network = network
        self.scale = scale
        self._forward = {
            tracks: _Forward(network, tracks) for tracks in ("sequence", "geometry", "structure")
        }
        self._compiled: set[tuple[Any, ...]] = set()

    def features(self, record: Complex) -> dict[str, np.ndarray]:
        """Padded arrays of one record in its own bucket."""
        return self.scale.features(record, bucket_of(record.num_tokens, BUCKETS))

    def row(self, features: Row, levels: Levels) -> Row:
        """What the network sees of one record; nothing is rotated, given atoms stay in place."""
        return corrupt(features, levels, np.random.default_rng(0), rotate=False)[0]

    def outputs(self, rows: Sequence[Row], tracks: str) -> list[Outputs]:
        """Outputs of each row in order; see `iterate`."""
        results: list[Outputs] = [{} for _ in rows]
        for index, outputs in self.iterate(rows, tracks):
            results[index] = outputs
        return results

    def iterate(self, rows: Sequence[Row], tracks: str) -> Iterator[tuple[int, Outputs]]:
        """Outputs ``identity``, ``property``, ``label`` and ``positions`` of each input row.

        Args:
            rows: Rows of `Inputs` by field name, padded to a bucket.
            tracks: Which parts of the network run.

        Yields:
            Index of the row and its outputs, in no particular order.
        """
        by_size: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            by_size.setdefault(len(row["token_mask"]), []).append(index)
        for size, members in sorted(by_size.items()):
            count = batch_size(size)
            for start in range(0, len(members), count):
                chosen = members[start : start + count]
                filled = chosen + [chosen[0]] * (count - len(chosen))
                arrays = Inputs(
                    **{
                        name: np.stack([rows[index][name] for index in filled])
                        for name in rows[chosen[0]]
                    }
                ).arrays()
                forward = self._forward[tracks]
                with evaluation_mode(self.network):
                    outputs = self._run(forward, [Tensor(array) for array in arrays])
                numbers = {
                    name: output.asnumpy()
                    for name, output in zip(forward.names, outputs, strict=True)
                }
                for place, index in enumerate(chosen):
                    yield index, {name: array[place].copy() for name, array in numbers.items()}

    def _run(self, forward: _Forward, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        wanted = signature(forward.tracks, inputs)
        if wanted in self._compiled:
            return tuple(forward(*inputs))
        self._compiled.add(wanted)
        with kept(forward, "construct", inputs):
            return tuple(forward(*inputs))
