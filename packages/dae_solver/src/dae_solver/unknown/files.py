"""Measurements as a file: NumPy's ``.npz`` with the scenarios as text."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem
from dae_solver.physics.phrases import parse
from dae_solver.unknown.measurements import OTHER_SIGMA, SIGMA, Channel, Measurements
from scimind.errors import InputError

_OTHER = ("t", "event", "load_factor", "generation_factor", "until")


def read_measurements(path: str | Path, grid: PowerSystem) -> Measurements:
    """Read measurements of scenarios of a grid.

    The file holds ``t [time]``; ``event [scenario]``, texts as for ``python -m
    dae_solver.simulate``; ``load_factor [load, scenario]`` and ``generation_factor [generator,
    scenario]`` (1 by default); ``until [scenario]`` (all by default); signals ``[scenario, time,
    place]`` as ``v``, ``angle`` of buses and states such as ``omega`` of machines. ``KIND_at``
    names the buses or machines of a signal, all by default, and ``KIND_sigma`` is the standard
    deviation of its noise.

    Raises:
        InputError: It is no such file, or does not fit the grid.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as problem:
        raise InputError(
            f"the file cannot be read as .npz: {problem}", path=path, rule="unknown.file"
        ) from None
    for name in ("t", "event"):
        if name not in arrays:
            raise InputError(f"the file lacks {name!r}", path=path, rule="unknown.file")
    texts = [str(text) for text in np.atleast_1d(arrays["event"])]
    scenarios = grid.scenarios(
        *map(parse, texts),
        load_factor=arrays.get("load_factor"),
        generation_factor=arrays.get("generation_factor"),
    )
    channels = [
        _channel(name, arrays, grid, path)
        for name in arrays
        if name not in _OTHER and not name.endswith(("_at", "_sigma"))
    ]
    return Measurements(
        scenarios=scenarios,
        t=np.asarray(arrays["t"], float),
        channels=tuple(channels),
        until=np.asarray(arrays.get("until", np.full(len(texts), np.inf)), float),
    )


def _channel(name: str, arrays: dict[str, Any], grid: PowerSystem, path: Path) -> Channel:
    dae = grid.dae
    if name in ("v", "angle"):
        known = [str(bus.id) for bus in grid.case.buses]
    elif name in {state.partition(":")[0] for state in dae.states}:
        known = list(dae.machine_ids)
        if len(dae.rows(name)) != len(known):
            raise InputError(
                f"signal {name!r} is a state that not every machine has; leave it out",
                path=path,
                rule="unknown.signal",
            )
    else:
        states = ", ".join(dict.fromkeys(state.partition(":")[0] for state in dae.states))
        raise InputError(
            f"{name!r} is no signal; signals are: v, angle, {states}",
            path=path,
            rule="unknown.signal",
        )
    at = [str(each) for each in np.atleast_1d(arrays.get(f"{name}_at", known))]
    if wrong := [each for each in at if each not in known]:
        raise InputError(
            f"signal {name} is measured at {wrong[0]!r}, which does not exist; there are: "
            f"{', '.join(known[:10])}",
            path=path,
            rule="unknown.place",
        )
    sigma = arrays.get(f"{name}_sigma", SIGMA.get(name, OTHER_SIGMA))
    return Channel(
        kind=name,
        places=tuple(known.index(each) for each in at),
        values=np.asarray(arrays[name], float),
        sigma=float(sigma),
    )


def write_measurements(
    data: Measurements, grid: PowerSystem, path: str | Path, events: list[str], **factors: Any
) -> None:
    """Write measurements.

    Args:
        data: The measurements.
        grid: Of their scenarios.
        path: An ``.npz`` file.
        events: What happens in each scenario, as text.
        **factors: ``load_factor`` and ``generation_factor`` that are not 1.
    """
    arrays: dict[str, Any] = {"t": data.t, "event": np.array(events), "until": data.until}
    buses, machines = [str(bus.id) for bus in grid.case.buses], grid.dae.machine_ids
    for channel in data.channels:
        names = buses if channel.kind in ("v", "angle") else machines
        arrays[channel.kind] = channel.values
        arrays[f"{channel.kind}_at"] = np.array([names[k] for k in channel.places])
        arrays[f"{channel.kind}_sigma"] = channel.sigma
    np.savez_compressed(path, **arrays, **factors)
