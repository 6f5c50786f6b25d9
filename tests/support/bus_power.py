"""The power balance of every bus, from the records of a case and nothing of the engine's network.

For two-axis machines without armature resistance and loads of impedance, current and power shares.
"""

from __future__ import annotations

import numpy as np

from dae_solver.physics import PowerSystem, Trajectories
from dae_solver.physics.case import Case
from dae_solver.physics.network import Topology


def admittances(case: Case, topology: Topology) -> np.ndarray:
    """By the circuits of the branches: a transformer at the first bus, then a pi section."""
    place = {bus.id: k for k, bus in enumerate(case.buses)}
    found = np.zeros((len(place), len(place)), complex)
    for number, branch in enumerate(case.branches):
        if number in topology.out:
            continue
        ratio = branch.tap * np.exp(1j * branch.shift)
        series, half = 1.0 / (branch.r + 1j * branch.x), 0.5j * branch.b
        # Voltage and current behind the transformer: V / ratio and I conj(ratio).
        section = np.array([[series + half, -series], [-series, series + half]])
        turn = np.diag([1.0 / ratio, 1.0])
        ends = [place[branch.from_bus], place[branch.to_bus]]
        found[np.ix_(ends, ends)] += turn.conj().T @ section @ turn
    for shunt in case.shunts:
        found[place[shunt.bus], place[shunt.bus]] += shunt.g + 1j * shunt.b
    for bus, admittance in topology.shunts:
        found[bus, bus] += admittance
    assert not topology.strength
    return found


def machine_power(
    grid: PowerSystem, x: np.ndarray, voltage: np.ndarray, online: np.ndarray
) -> np.ndarray:
    """Complex power of the machines: ``E' = V + j x' I`` by axis, ``[time, machine]``."""
    model = grid.dae.machines[0].model
    assert model.name == "TWOAXIS"
    assert not model.value["ra"].any()
    by_d, by_q = (model.value[name][:, 0] for name in ("xd1", "xq1"))
    delta, e_q, e_d = (x[:, grid.dae.rows(name)] for name in ("delta", "e1q", "e1d"))
    to_network = np.exp(1j * (delta - np.pi / 2))
    v = voltage / to_network
    current = (e_q - v.imag) / by_d + 1j * (v.real - e_d) / by_q
    found: np.ndarray = online * voltage * np.conj(current * to_network)
    return found


def load_power(
    grid: PowerSystem, size: np.ndarray, p: np.ndarray, q: np.ndarray, at_rest: np.ndarray
) -> np.ndarray:
    """Complex power of the loads; of an impedance below the switch of their model."""
    model = grid.dae.load_model
    v = np.maximum(size, model.switch)
    by = v / at_rest
    share = model.z * by**2 + model.i * by + model.p
    found: np.ndarray = (p + 1j * q) * share * (size / v) ** 2
    return found


def load_levels(runs: Trajectories, scenario: int) -> tuple[np.ndarray, np.ndarray]:
    """Active and reactive power of the loads at rest, just before events, ``[time, load]``."""
    now = {name: runs.scenarios.parameters[name][:, [scenario]].copy() for name in ("p0", "q0")}
    p, q = (np.tile(now[name].T, (len(runs.t), 1)) for name in ("p0", "q0"))
    for event in sorted(runs.scenarios.events[scenario], key=lambda each: each.time):
        for change in event.changes:
            if change.name in now:
                change.apply(now, 0)
        later = runs.t > event.time
        p[later], q[later] = now["p0"][:, 0], now["q0"][:, 0]
    return p, q


def mismatches(grid: PowerSystem, runs: Trajectories, scenario: int) -> np.ndarray:
    """Power that no bus accounts for, at every output of a scenario, ``[time, bus]``, pu."""
    case = grid.case
    assert [each.id for each in case.generators] == grid.dae.machine_ids
    place = {bus.id: k for k, bus in enumerate(case.buses)}
    machines, loads = (
        [place[each.bus] for each in devices] for devices in (case.generators, case.loads)
    )
    x, voltage = runs.solution.x[scenario], runs.voltages()[scenario]
    networks = runs.networks(scenario)
    found = np.zeros(voltage.shape, complex)
    for number in np.unique(networks):
        matrix, part = admittances(case, grid.dae.topologies[number]), networks == number
        found[part] = -voltage[part] * np.conj(voltage[part] @ matrix.T)
    supplied = machine_power(grid, x, voltage[:, machines], runs.connected[scenario])
    at_rest = runs.scenarios.parameters["v0"][:, scenario]
    taken = load_power(grid, np.abs(voltage[:, loads]), *load_levels(runs, scenario), at_rest)
    np.add.at(found, (slice(None), machines), supplied)
    np.subtract.at(found, (slice(None), loads), taken)
    return found[np.isfinite(x).all(1)]
