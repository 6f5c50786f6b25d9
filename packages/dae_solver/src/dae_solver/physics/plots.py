"""Plots of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dae_solver.physics.trajectories import Trajectories


def trajectories(runs: Trajectories, scenarios: Sequence[int]) -> Figure:
    """Angles against the centre of inertia, speeds and voltages, one column for each scenario.

    Where there is a certificate it is a band around each angle.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(scenarios) + 1.2, 7.0), layout="constrained")
    axes = figure.subplots(3, len(scenarios), sharex=True, squeeze=False)
    hertz = runs.grid.case.frequency
    voltages = np.abs(runs.voltages())
    for column, scenario in enumerate(scenarios):
        angle, speed, voltage = axes[:, column]
        angle.set_title(f"{scenario}: {runs.scenarios.texts[scenario]}", fontsize=8)
        lines = angle.plot(runs.t, np.degrees(runs.delta_coi[scenario]), lw=1)
        _add_certificate(angle, runs, scenario)
        speed.plot(runs.t, hertz * (runs.omega[scenario] - 1.0), lw=1)
        voltage.plot(runs.t, voltages[scenario], lw=0.8, alpha=0.7)
        for event in runs.solution.events_of(scenario):
            for axis in (angle, speed, voltage):
                axis.axvline(event.time, color="0.6", lw=0.8, ls=":")
            top = voltage.get_xaxis_transform()
            voltage.text(event.time, 0.02, event.name, transform=top, rotation=90, fontsize=6)
        if np.isfinite(runs.separated[scenario]):
            angle.axvline(runs.separated[scenario], color="tab:red", lw=1)
        voltage.set_xlabel("time, s")
    axes[0, 0].set_ylabel("angle to centre of inertia, deg")
    axes[1, 0].set_ylabel("speed deviation, Hz")
    axes[2, 0].set_ylabel("voltage, pu")
    angle = axes[0, -1]
    if len(runs.grid.machine_ids) <= 12:
        angle.legend(lines, runs.grid.machine_ids, fontsize=6, loc="upper right")
    return figure


def _add_certificate(axis: Axes, runs: Trajectories, scenario: int) -> None:
    bound = runs.certificate[scenario]
    if np.isnan(bound):
        return
    text = "no bound: certificate is infinite"
    if np.isfinite(bound):
        text = f"band: certificate, ±{bound:.2g} deg"
        before = runs.t <= runs.separated[scenario]
        for k, angle in enumerate(np.degrees(runs.delta_coi[scenario, before]).T):
            axis.fill_between(
                runs.t[before], angle - bound, angle + bound, color=f"C{k % 10}", alpha=0.25, lw=0
            )
    axis.text(0.02, 0.02, text, transform=axis.transAxes, fontsize=6)
