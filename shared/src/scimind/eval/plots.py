"""Figures of an evaluation: scores against baselines, predictions against targets, curves.

Figures are made without pyplot, so no window system or global state is touched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scimind.errors import InputError
from scimind.eval.result import MetricValue, Result
from scimind.reading import read_text
from scimind.typing import Float

MODEL_COLOUR, BASELINE_COLOUR, REFERENCE_COLOUR = "#1f5fbf", "#8a94a6", "#c77700"
_MAX_POINTS = 5000
_PLAIN: dict[str, Any] = {"parse_math": False}  # names from files are no TeX


def score_bars(result: Result, metric: str) -> tuple[Figure, str]:
    """Bars of one score for the model and its baselines, with intervals.

    Returns:
        The figure and its text alternative.
    """
    bars: list[tuple[str, str, MetricValue]] = [
        (result.model, MODEL_COLOUR, result.metrics[metric])
    ]
    for row in result.baselines:
        colour = REFERENCE_COLOUR if row.kind == "published" else BASELINE_COLOUR
        if metric in row.metrics:
            bars.append((f"{row.name} ({row.kind})", colour, row.metrics[metric]))
    known = [(name, colour, m) for name, colour, m in bars if m.value is not None]
    figure = Figure(figsize=(7.0, 1.0 + 0.42 * max(len(known), 1)), layout="constrained")
    axes = figure.subplots()
    values = [m.value for _, _, m in known if m.value is not None]
    below = [v - m.ci_low if m.ci_low is not None else 0.0 for v, (_, _, m) in _zip(values, known)]
    above = [
        m.ci_high - v if m.ci_high is not None else 0.0 for v, (_, _, m) in _zip(values, known)
    ]
    errors = np.maximum(np.array([below, above]).reshape(2, -1), 0.0)
    places = np.arange(len(known))
    axes.barh(places, values, color=[colour for _, colour, _ in known], height=0.62)
    axes.errorbar(values, places, xerr=errors, fmt="none", ecolor="#1c2330", capsize=3, lw=1)
    axes.set_yticks(places)
    axes.set_yticklabels([_shorten(name) for name, _, _ in known], **_PLAIN)
    axes.invert_yaxis()
    unit = result.metrics[metric].unit
    direction = result.metrics[metric].direction
    axes.set_xlabel(f"{metric}{f' ({unit})' if unit else ''}, {direction} is better", **_PLAIN)
    axes.spines[["top", "right"]].set_visible(False)
    scores = "; ".join(f"{name} {m.value:.4g}" for name, _, m in known)
    return figure, f"Bars of {metric} ({direction} is better) on {result.task}: {scores}."


def predicted_against_true(
    predictions: Float[np.ndarray, " item"],
    targets: Float[np.ndarray, " item"],
    *,
    quantity: str,
    unit: str = "",
) -> tuple[Figure, str]:
    """Scatter of predictions over targets with the diagonal; NaN targets are left out.

    Args:
        predictions: Predicted values.
        targets: True values.
        quantity: Axis name.
        unit: Unit of both.

    Returns:
        The figure and its text alternative.
    """
    known = np.isfinite(targets) & np.isfinite(predictions)
    x, y = targets[known], predictions[known]
    shown = np.linspace(0, max(len(x) - 1, 0), min(len(x), _MAX_POINTS)).astype(int)
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(x[shown], y[shown], s=12, alpha=0.5, color=MODEL_COLOUR, edgecolors="none")
    if len(x):
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        axes.plot([low, high], [low, high], color="#1c2330", lw=1, ls="--")
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"true {quantity}{suffix}", **_PLAIN)
    axes.set_ylabel(f"predicted {quantity}{suffix}", **_PLAIN)
    axes.spines[["top", "right"]].set_visible(False)
    alt = f"Predicted over true {quantity} of {len(x)} items"
    if len(x):
        error = float(np.sqrt(np.mean((x - y) ** 2)))
        alt += (
            f"; root mean square distance from the diagonal {error:.3g}{' ' + unit if unit else ''}"
        )
    return figure, alt + "."


def read_curves(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Curves of a ``metrics.jsonl``: name to (steps, values).

    Each line is an object with a ``"step"``; every other number is a point of its curve. A last
    line cut off by a crash is left out.

    Raises:
        InputError: A line other than the last is no JSON object.
    """
    curves: dict[str, tuple[list[float], list[float]]] = {}
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise InputError(
                f"the line is no JSON ({error}); the log is damaged",
                path=path,
                line=number,
                rule="metrics.syntax",
            ) from error
        if not isinstance(record, dict) or not _is_number(record.get("step")):
            continue
        for name, value in record.items():
            if name != "step" and _is_number(value):
                steps, values = curves.setdefault(name, ([], []))
                steps.append(float(record["step"]))
                values.append(float(value))
    return curves


def curve_panel(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], names: Sequence[str], title: str
) -> tuple[Figure, str]:
    """Curves over training steps in one panel, a log axis where all values are positive.

    Returns:
        The figure and its text alternative.

    Raises:
        ValueError: A name is no curve.
    """
    if unknown := [name for name in names if name not in curves]:
        raise ValueError(f"no curves {unknown}; there are {sorted(curves)}")
    figure = Figure(figsize=(7.0, 3.4), layout="constrained")
    axes = figure.subplots()
    parts = []
    for name in names:
        steps, values = curves[name]
        axes.plot(steps, values, lw=1.3, marker="o" if len(steps) < 20 else None, ms=3, label=name)
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            parts.append(f"{name} from {finite[0]:.4g} to {finite[-1]:.4g}")
    positive = [v for name in names for v in curves[name][1] if math.isfinite(v)]
    if positive and min(positive) > 0 and max(positive) / min(positive) > 20:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_title(title, **_PLAIN)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        legend = axes.legend(frameon=False, fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure, f"{title}: " + ("; ".join(parts) or "no finite values") + "."


def _zip(values: Sequence[float], known: Sequence[Any]) -> list[tuple[float, Any]]:
    return list(zip(values, known, strict=True))


def _shorten(name: str, length: int = 44) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
