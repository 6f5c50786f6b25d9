"""What a checkpoint holds, and its way into networks and training steps.

A checkpoint is a folder: ``model.safetensors``, ``average.safetensors`` (with a moving average),
``training.safetensors`` (moments, counters, loss scale), ``state.json`` and ``manifest.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from mindspore import Parameter, nn

from scimind.errors import CheckpointError
from scimind.train.parameters import Arrays, overwrite
from scimind.train.step import TrainStep, named_parameters
from scimind.train.storage import read_file, read_manifest, write_folder

FORMAT = 1
MODEL = "model.safetensors"
AVERAGE = "average.safetensors"
TRAINING = "training.safetensors"
STATE = "state.json"
SHOWN_NAMES = 8
_UNREADABLE = (
    safetensors.SafetensorError, AttributeError, KeyError, MemoryError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory, every byte verified.

    Attributes:
        path: Its folder.
        step: Updates tried before it was written.
        model: Parameters of the loss cell by path.
        average: Moving average of the trained ones; empty without.
        training: Optimizer moments and counters, loss scale.
        state: Position of data and loop, as JSON.
    """

    path: Path
    step: int
    model: Arrays
    average: Arrays
    training: Arrays
    state: dict[str, Any]


def save(folder: Path, step: TrainStep, state: Mapping[str, Any]) -> None:
    """Write a training step and the state of its loop as one durable folder.

    Args:
        folder: New folder.
        step: Its parameters, averages, moments and scales are written.
        state: JSON-able; ``state["step"]`` is the number of steps.

    Raises:
        EnvironmentProblem: The disk is full or not writable; nothing is left behind.
    """

    def files() -> Iterator[tuple[str, bytes]]:
        yield MODEL, _packed(step.named_parameters())
        if step.average is not None:
            yield AVERAGE, _packed(step.average.state())
        yield TRAINING, _packed(_training_parameters(step))
        text = json.dumps({"format": FORMAT, **state}, indent=1, sort_keys=True)
        yield STATE, text.encode()

    write_folder(folder, files())


def load(folder: str | Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: A file is missing, cut, changed, or not what its name says.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    state = _read_state(folder, read_file(folder, STATE, manifest))
    return Checkpoint(
        path=folder,
        step=state["step"],
        model=_unpacked(folder, MODEL, manifest),
        average=_unpacked(folder, AVERAGE, manifest) if AVERAGE in manifest else {},
        training=_unpacked(folder, TRAINING, manifest),
        state=state,
    )


def read_state(folder: str | Path) -> dict[str, Any]:
    """The verified ``state.json`` of a checkpoint, without its arrays.

    Raises:
        CheckpointError: It is missing or changed.
    """
    folder = Path(folder)
    return _read_state(folder, read_file(folder, STATE, read_manifest(folder)))


def load_network(network: nn.Cell, path: str | Path, use_ema: bool = True) -> None:
    """Put the parameters of a checkpoint into a network.

    Args:
        network: The network itself, or the loss cell around it.
        path: Checkpoint folder.
        use_ema: Take the moving average where the run kept one.

    Raises:
        CheckpointError: Names, shapes or types differ; the network is left as it was.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    arrays = _unpacked(folder, MODEL, manifest)
    if use_ema and AVERAGE in manifest:
        arrays |= _unpacked(folder, AVERAGE, manifest)
    wanted = named_parameters(network)
    if not any(name.startswith("loss:") for name in wanted):
        arrays = {name: value for name, value in arrays.items() if not name.startswith("loss:")}
    _check_fit(wanted, arrays, f"{folder / MODEL} does not fit this network")
    overwrite(wanted, arrays)


def restore(step: TrainStep, checkpoint: Checkpoint) -> None:
    """Put everything a checkpoint holds into a training step, or nothing.

    Raises:
        CheckpointError: It belongs to another network, optimizer or setting.
    """
    parts = [
        (MODEL, step.named_parameters(), checkpoint.model),
        (TRAINING, _training_parameters(step), checkpoint.training),
        (AVERAGE, step.average.state() if step.average else {}, checkpoint.average),
    ]
    for name, wanted, arrays in parts:
        _check_fit(wanted, arrays, f"{checkpoint.path / name} does not fit this run")
    for _, wanted, arrays in parts:
        overwrite(wanted, arrays)


def _training_parameters(step: TrainStep) -> dict[str, Parameter]:
    named = {f"optimizer/{name}": value for name, value in step.optimizer.state().items()}
    if step.loss_scale is not None:
        named |= {f"loss_scale/{name}": value for name, value in step.loss_scale.state().items()}
    return named


def _packed(parameters: Mapping[str, Parameter]) -> bytes:
    arrays = {name: np.ascontiguousarray(p.asnumpy()) for name, p in parameters.items()}
    # ascontiguousarray makes scalars one-dimensional.
    shaped = {name: arrays[name].reshape(p.shape) for name, p in parameters.items()}
    return bytes(safetensors.numpy.save(shaped))


def _unpacked(folder: Path, name: str, manifest: dict[str, tuple[int, str]]) -> Arrays:
    content = read_file(folder, name, manifest)
    try:
        # The library returns them in an order that differs from call to call.
        return dict(sorted(safetensors.numpy.load(content).items()))
    except _UNREADABLE as error:
        raise CheckpointError(f"{folder / name} is not a safetensors file: {error}") from error


def _read_state(folder: Path, content: bytes) -> dict[str, Any]:
    path = folder / STATE
    try:
        state = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise CheckpointError(f"{path} tells no step: not the state of a run")
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {state.get('format')!r}; this version reads {FORMAT}: "
            "load it with the version of scimind that wrote it"
        )
    return state


def _check_fit(
    wanted: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], problem: str
) -> None:
    faults = []
    if missing := [name for name in wanted if name not in arrays]:
        faults.append(f"missing: {_listed(missing)}")
    if extra := [name for name in arrays if name not in wanted]:
        faults.append(f"not expected: {_listed(extra)}")
    both = [(name, wanted[name], arrays[name]) for name in wanted if name in arrays]
    if shapes := [f"{n} {a.shape} for {tuple(p.shape)}" for n, p, a in both if a.shape != p.shape]:
        faults.append(f"shape: {_listed(shapes)}")
    types = [(n, str(a.dtype), str(p.dtype).lower()) for n, p, a in both]
    if kinds := [f"{n} {found} for {rule}" for n, found, rule in types if found != rule]:
        faults.append(f"type: {_listed(kinds)}")
    if faults:
        raise CheckpointError(
            f"{problem}; {'; '.join(faults)}. Use the configuration it was trained with"
        )


def _listed(names: list[str]) -> str:
    hidden = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {hidden} more" if hidden > 0 else "")
