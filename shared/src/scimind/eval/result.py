"""The result file: one evaluated model on one task, with everything needed to trust it."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from scimind.errors import InputError
from scimind.eval.writing import write_whole
from scimind.reading import read_json

SCHEMA = "scimind.result/1"
BaselineKind = Literal["trivial", "classical", "published"]


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """A score with its uncertainty.

    Attributes:
        value: The score; ``None`` where it is undefined (correlation with a constant).
        ci_low: Lower end of the interval.
        ci_high: Upper end of the interval.
        n: Number of items behind the score.
        method: How the interval was made, such as ``"bca bootstrap, 95 %, 1000 resamples"``.
        direction: Which way is better.
        unit: Physical unit.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    method: str
    direction: Literal["higher", "lower"]
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item without a prediction (or a record without an item), and why.

    Attributes:
        item: Name of the item or record.
        reason: What was wrong with it, in one line.
        rule: Stable identifier of the broken rule, for counting.
    """

    item: str
    reason: str
    rule: str = "prediction"


@dataclass(frozen=True, kw_only=True)
class BaselineRow:
    """Scores of one baseline on the same items.

    Attributes:
        name: Name in tables.
        kind: ``"trivial"``, ``"classical"``, or ``"published"`` for a number from a paper.
        metrics: Scores by metric name.
        source: Citation of a published number.
        failures: Items the baseline could not do.
    """

    name: str
    kind: BaselineKind
    metrics: dict[str, MetricValue]
    source: str = ""
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of a leaderboard, as it is stored in ``results/*.json``.

    Attributes:
        task: Name of the task.
        version: Version of the task.
        split: The scored split.
        data_digest: SHA-256 over the task's files.
        primary: Name of the metric that ranks.
        items: Number of items of the split, failed ones included.
        metrics: Scores by name.
        baselines: Rows every table shows beside the model; never empty.
        failures: Items without a prediction. They are scored as ``failed_prediction`` of the
            task where it has one; otherwise they are left out and ``excluded`` counts them.
        excluded: Number of items left out of the score.
        rejected: Records of the data files that are no items.
        model: Name of the model.
        parameters: Number of trainable parameters.
        checkpoint_hash: SHA-256 of the checkpoint's manifest, "" where there is none.
        config_hash: SHA-256 of the resolved config.
        commit: Commit of the code.
        dirty: The working tree differed from the commit.
        hardware: Processor or accelerator, cores used.
        versions: Versions of the libraries.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``.
        seed: Seed of the evaluated run.
        seconds_wall: Wall time of the predictions.
        seconds_cpu: Process CPU time (user and system) of the predictions.
        date: ISO 8601, UTC.
        command: The command line.
        notes: Missing kernels, substitutes, approximations.
    """

    task: str
    version: str
    split: str
    data_digest: str
    primary: str
    items: int
    metrics: dict[str, MetricValue]
    baselines: list[BaselineRow]
    failures: list[Failure]
    excluded: int
    rejected: list[Failure]
    model: str
    parameters: int
    checkpoint_hash: str
    config_hash: str
    commit: str
    dirty: bool
    hardware: dict[str, str]
    versions: dict[str, str]
    precision: str
    seed: int
    seconds_wall: float
    seconds_cpu: float
    date: str
    command: str
    notes: list[str]

    @property
    def benchmark(self) -> tuple[str, str, str, str]:
        """What two results must share to be compared: task, version, split, data digest."""
        return (self.task, self.version, self.split, self.data_digest)

    def save(self, path: Path) -> None:
        """Writes the JSON file, under its final name only once it is complete.

        Raises:
            EnvironmentProblem: The file cannot be written.
        """
        content = {"schema": SCHEMA, **_finite(asdict(self))}
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Result:
        """Reads a result file.

        Raises:
            InputError: The file is no result file, or a field is missing, unknown or of the
                wrong type.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise InputError(
                f'the file has no "schema": "{SCHEMA}"; only files written by Result.save count',
                path=path,
                rule="result.schema",
            )
        result = _parse(cls, content, "result", path)
        assert isinstance(result, cls)
        if result.primary not in result.metrics:
            raise InputError(
                f"the primary metric {result.primary!r} is none of {sorted(result.metrics)}",
                path=path,
                rule="result.primary",
            )
        if not result.baselines:
            raise InputError(
                "the result has no baselines; run it again with a task that declares them",
                path=path,
                rule="result.baselines",
            )
        return result


def _finite(value: Any) -> Any:
    """JSON has no NaN: undefined scores become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _parse(kind: Any, value: Any, where: str, path: Path) -> Any:
    """Checks ``value`` from JSON against a type annotation and builds the dataclasses."""

    def wrong(rule: str) -> InputError:
        return InputError(
            f"{where} is {value!r:.80}, but {rule}; write result files with Result.save",
            path=path,
            rule="result.field",
        )

    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise wrong("an object is expected")
        hints = get_type_hints(kind)
        names = [entry.name for entry in fields(kind)]
        if set(value) != set(names):
            missing, unknown = sorted(set(names) - set(value)), sorted(set(value) - set(names))
            raise InputError(
                f"{where} lacks the fields {missing} and has the unknown fields {unknown}; "
                "write result files with Result.save",
                path=path,
                rule="result.fields",
            )
        return kind(**{n: _parse(hints[n], value[n], f"{where}.{n}", path) for n in names})
    if origin is dict:
        if not isinstance(value, dict):
            raise wrong("an object is expected")
        return {k: _parse(arguments[1], v, f"{where}.{k}", path) for k, v in value.items()}
    if origin is list:
        if not isinstance(value, list):
            raise wrong("a list is expected")
        return [_parse(arguments[0], v, f"{where}[{i}]", path) for i, v in enumerate(value)]
    if origin is Literal:
        if value not in arguments:
            raise wrong(f"one of {arguments} is expected")
        return value
    if origin is types.UnionType:
        return None if value is None else _parse(arguments[0], value, where, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise wrong(f"a value of type {kind.__name__} is expected")
    return value
