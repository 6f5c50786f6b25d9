"""Curves of a run as PNG files, drawn from its metrics file."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

from scimind.train.metrics_log import read_metrics

_log = logging.getLogger(__name__)

_LOG_SCALE = ("loss", "grad_norm")
_NOT_CURVES = ("kind", "step", "graphs", "compiling_s", "evaluation_s")


def plot_metrics(metrics: Path, folder: Path) -> list[Path]:
    """Draw every metric over the steps; training and evaluation share an axis.

    Args:
        metrics: JSON lines file of a run.
        folder: Takes one PNG per metric.

    Returns:
        The files; empty, with a warning, when they cannot be drawn.
    """
    curves: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    try:
        for record in read_metrics(metrics):
            if record.get("kind") not in ("train", "evaluation"):
                continue
            for name, value in record.items():
                if name not in _NOT_CURVES and isinstance(value, int | float):
                    curves[name][record["kind"]].append((record["step"], value))
        folder.mkdir(parents=True, exist_ok=True)
        return [_draw(name, kinds, folder) for name, kinds in curves.items()]
    except Exception as error:
        # A plot is a convenience; a trained network must not be lost for it.
        _log.warning("no plots of %s: %s", metrics, error)
        return []


def _draw(name: str, kinds: dict[str, list[tuple[int, float]]], folder: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind, points in kinds.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, label=kind, marker="o" if kind == "evaluation" else None)
    if name in _LOG_SCALE and all(v > 0 for points in kinds.values() for _, v in points):
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(name.replace("_", " "))
    axes.grid(alpha=0.3)
    axes.legend()
    path = folder / f"{name.replace('/', '_')}.png"
    figure.savefig(path)
    return path
