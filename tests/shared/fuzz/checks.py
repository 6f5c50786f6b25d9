"""Checks of configuration, JSON, CSV and array files: read, and compared with other readers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzzing.verdicts import judge
from scimind.config import RunConfig, load_resolved, to_plain
from scimind.config.training import CheckpointConfig, LoopConfig, OptimizerConfig, ScheduleConfig
from scimind.reading import read_csv, read_json, read_npy, read_npz


@dataclass(kw_only=True)
class TrainingConfig(RunConfig):
    """What a training command reads: every section of the library."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)


def _leaves(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{place}.{key}")
    else:
        yield place, tree


def _same(written: Any, kept: Any) -> bool:
    if isinstance(kept, float) and isinstance(written, str | int | float):
        return float(written) == kept
    if isinstance(kept, bool | int) and isinstance(written, str | float):
        return str(kept).lower() == str(written).lower() or float(written) == kept
    if isinstance(written, list | tuple):
        return list(written) == list(kept)
    return written == kept or str(written) == str(kept) or (written == {} and not kept)


def check_yaml(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        config = load_resolved(path, TrainingConfig)
        kept = dict(_leaves(to_plain(config)))
        losses = []
        for place, written in _leaves(yaml.safe_load(path.read_text(encoding="utf-8"))):
            if place not in kept and not any(name.startswith(place + ".") for name in kept):
                losses.append(f"{place} = {written!r:.40} is not in the configuration")
            elif place in kept and not _same(written, kept[place]):
                losses.append(f"{place} = {written!r:.40} became {kept[place]!r:.40}")
        for place, value in kept.items():
            if isinstance(value, float) and math.isnan(value):
                losses.append(f"{place} is NaN")
        return Counter(), losses

    return judge(path, read)


def check_json(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        value = read_json(path)
        expected = json.loads(path.read_text(encoding="utf-8-sig"))
        return Counter(), [] if value == expected else ["differs from json.loads"]

    return judge(path, read)


def check_csv(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        rows = [list(cells.values()) for _, cells in read_csv(path)]
        text = path.read_text(encoding="utf-8-sig")
        expected = [cells for cells in csv.reader(io.StringIO(text)) if cells]
        while expected and len(expected[0]) == 1 and not expected[0][0].strip():
            expected.pop(0)
        return Counter(), [] if rows == expected[1:] else ["differs from csv.reader"]

    return judge(path, read)


def check_npy(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        array = read_npy(path)
        expected = np.load(path, allow_pickle=False)
        same = array.dtype == expected.dtype and array.shape == expected.shape
        same = same and array.tobytes() == expected.tobytes()
        return Counter(), [] if same else ["differs from numpy.load"]

    return judge(path, read)


def check_npz(path: Path) -> dict:
    def read(path: Path) -> tuple[Counter, list[str]]:
        arrays = read_npz(path)
        with np.load(path, allow_pickle=False) as expected:
            same = sorted(arrays) == sorted(expected.files)
            same = same and all(
                arrays[name].tobytes() == expected[name].tobytes() for name in arrays
            )
        return Counter(), [] if same else ["differs from numpy.load"]

    return judge(path, read)
