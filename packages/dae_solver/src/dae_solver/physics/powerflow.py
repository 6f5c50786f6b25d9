"""Power flow: voltages at which generation and loads balance, for a batch of load levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.physics.case import Case
from dae_solver.physics.network import Network
from scimind.errors import InputError
from scimind.typing import Float, Shaped

MOST_ITERATIONS = 40
TOLERANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class PowerFlow:
    """Voltages and what generators supply, per unit.

    Attributes:
        v: Complex bus voltages, ``[bus, scenario]``.
        supply: Complex power of each generator, ``[generator, scenario]``.
        p_load: Active power of each load, ``[load, scenario]``.
        q_load: Reactive power of each load, ``[load, scenario]``.
        iterations: Of Newton, the most of any scenario.
    """

    v: Shaped[np.ndarray, "bus scenario"]
    supply: Shaped[np.ndarray, "generator scenario"]
    p_load: Float[np.ndarray, "load scenario"]
    q_load: Float[np.ndarray, "load scenario"]
    iterations: int

    def take(self, scenarios: np.ndarray) -> PowerFlow:
        """That of some scenarios."""
        return PowerFlow(
            v=self.v[:, scenarios],
            supply=self.supply[:, scenarios],
            p_load=self.p_load[:, scenarios],
            q_load=self.q_load[:, scenarios],
            iterations=self.iterations,
        )


def solve(
    network: Network,
    *,
    load_factor: Float[np.ndarray, "load scenario"] | None = None,
    generation_factor: Float[np.ndarray, "generator scenario"] | None = None,
    scenarios: int = 1,
) -> PowerFlow:
    """Newton's method in polar coordinates; dense, all scenarios at once.

    Generators at one bus supply what is scheduled (``p`` and ``q``); what it is short of, active
    power at the slack and reactive power where a voltage is held, they share by rating.

    Args:
        network: The case as built.
        load_factor: Multiplies active and reactive power of each load.
        generation_factor: Multiplies the scheduled active power of each generator.
        scenarios: How many, where no factor says so.

    Raises:
        InputError: There is no slack, an island without one, or no convergence; the message names
            the bus with the largest mismatch.

    Source: Tinney and Hart, IEEE Trans. Power App. Syst. 86, 1449 (1967).
    """
    case, number = network.case, len(network.case.buses)
    for factor in (load_factor, generation_factor):
        scenarios = scenarios if factor is None else factor.shape[-1]
    network.check_connected(network.built, f"case {case.name}")
    p, q, loads = _injections(network, load_factor, generation_factor, scenarios)
    slack, held, v_set, angle = _controls(network)
    v = np.array([bus.v if bus.v > 0 else 1.0 for bus in case.buses])[:, None]
    theta = np.array([bus.angle for bus in case.buses])[:, None]
    v, theta = np.repeat(v, scenarios, 1), np.repeat(theta, scenarios, 1)
    v[held] = v_set[:, None]
    theta[slack] = angle
    free = np.array([k for k in range(number) if k != slack])
    loose = np.setdiff1d(np.arange(number), held)
    y = network.admittance(network.built)
    for attempt in ("given", "flat"):
        found = _newton(y, v, theta, p, q, free, loose)
        if found[2].all():
            break
        if attempt == "given":  # the file's voltages may be far from a solution
            flat = ~found[2]
            v[np.ix_(loose, flat)], theta[:, flat] = 1.0, angle
    u, iterations, good, mismatch = found
    if not good.all():
        scenario = int(np.flatnonzero(~good)[0])
        bus = int(np.nanargmax(np.abs(mismatch[:, scenario])))
        raise InputError(
            f"the power flow of {case.name} does not converge (scenario {scenario}): the largest "
            f"mismatch is {abs(mismatch[bus, scenario]):.3g} pu at bus {case.buses[bus].id}; "
            "reduce the load, or check the network there",
            rule="power.flow",
        )
    injected = u * np.conj(y @ u)
    p_load, q_load = loads
    total = injected.copy()
    for k, load in enumerate(case.loads):
        total[network.position[load.bus]] += p_load[k] + 1j * q_load[k]
    return PowerFlow(
        v=u,
        supply=_shared(network, total, generation_factor, scenarios),
        p_load=p_load,
        q_load=q_load,
        iterations=iterations,
    )


def _injections(
    network: Network,
    load_factor: np.ndarray | None,
    generation_factor: np.ndarray | None,
    scenarios: int,
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Scheduled power into each bus, and the power of each load."""
    case = network.case
    p, q = np.zeros((len(case.buses), scenarios)), np.zeros((len(case.buses), scenarios))
    one = np.ones((1, scenarios))
    factor = one if load_factor is None else load_factor
    p_load = np.array([load.p for load in case.loads]).reshape(-1, 1) * factor
    q_load = np.array([load.q for load in case.loads]).reshape(-1, 1) * factor
    for k, load in enumerate(case.loads):
        place = network.at(load.bus, f"load {load.id}")
        p[place] -= p_load[k]
        q[place] -= q_load[k]
    for k, generator in enumerate(case.generators):
        if generator.in_service:
            place = network.at(generator.bus, f"generator {generator.id}")
            p[place] += generator.p * (
                one[0] if generation_factor is None else generation_factor[k]
            )
            q[place] += generator.q if generator.v_set is None else 0.0
    return p, q, (p_load, q_load)


def _controls(network: Network) -> tuple[int, np.ndarray, np.ndarray, float]:
    """The slack bus, the buses whose voltage is held, these voltages, and the slack's angle."""
    case = network.case
    voltages: dict[int, float] = {}
    slack: dict[int, float] = {}
    for generator in case.generators:
        if not generator.in_service:
            continue
        place = network.position[generator.bus]
        if generator.v_set is not None:
            known = voltages.setdefault(place, generator.v_set)
            if abs(known - generator.v_set) > 1e-9:
                raise InputError(
                    f"generators at bus {generator.bus} hold different voltages, {known} and "
                    f"{generator.v_set} pu; give one",
                    rule="power.voltage",
                )
        if generator.slack:
            slack[place] = generator.angle
    if len(slack) != 1:
        names = ", ".join(str(case.buses[k].id) for k in slack) or "none"
        raise InputError(
            f"case {case.name} needs one slack bus and has {len(slack)} ({names})",
            rule="power.slack",
        )
    place = next(iter(slack))
    if place not in voltages:
        raise InputError(
            f"the slack generator at bus {case.buses[place].id} holds no voltage; give v_set",
            rule="power.slack",
        )
    held = np.array(sorted(voltages))
    return place, held, np.array([voltages[k] for k in held]), slack[place]


def _newton(
    y: np.ndarray,
    v: np.ndarray,
    theta: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    free: np.ndarray,
    loose: np.ndarray,
) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """Voltages, iterations, which scenarios converged, and the complex mismatch of each bus."""
    v, theta = v.copy(), theta.copy()
    scenarios, nf = v.shape[1], len(free)
    place = np.arange(len(v))
    iterations = 0
    for iterations in range(MOST_ITERATIONS + 1):
        with np.errstate(all="ignore"):
            u = v * np.exp(1j * theta)
            current = y @ u
            power = u * np.conj(current)
            mismatch = np.zeros(u.shape, complex)
            mismatch[free] += power.real[free] - p[free]
            mismatch[loose] += 1j * (power.imag[loose] - q[loose])
            size = np.maximum(np.abs(mismatch.real), np.abs(mismatch.imag)).max(0)
        good = size < TOLERANCE * max(1.0, np.abs(p).max(initial=0.0))
        rest = np.flatnonzero(~good & np.isfinite(size))
        if not len(rest) or iterations == MOST_ITERATIONS:
            break
        uu, cc = u[:, rest].T, current[:, rest].T
        yu = y[None] * uu[:, None, :]
        by_angle = -1j * uu[:, :, None] * np.conj(yu)
        by_angle[:, place, place] += 1j * uu * np.conj(cc)
        unit = uu / np.abs(uu)
        by_size = uu[:, :, None] * np.conj(y[None] * unit[:, None, :])
        by_size[:, place, place] += np.conj(cc) * unit
        jacobian = np.concatenate(
            [
                np.concatenate(
                    [by_angle.real[:, free][:, :, free], by_size.real[:, free][:, :, loose]], 2
                ),
                np.concatenate(
                    [by_angle.imag[:, loose][:, :, free], by_size.imag[:, loose][:, :, loose]], 2
                ),
            ],
            1,
        )
        right = np.concatenate([mismatch.real[free][:, rest], mismatch.imag[loose][:, rest]])
        try:
            step = np.linalg.solve(jacobian, right.T[..., None])[..., 0].T
        except np.linalg.LinAlgError:
            break
        theta[np.ix_(free, rest)] -= step[:nf]
        v[np.ix_(loose, rest)] -= step[nf:]
    good = size < 1e-9 * max(1.0, np.abs(p).max(initial=0.0))
    good &= (v > 0.2).all(0)  # the low-voltage solutions are none that a grid runs at
    assert good.shape == (scenarios,)
    return u, iterations, good, mismatch


def _shared(
    network: Network, total: np.ndarray, generation_factor: np.ndarray | None, scenarios: int
) -> np.ndarray:
    """Power of each generator from what its bus has to supply."""
    case = network.case
    supply = np.zeros((len(case.generators), scenarios), complex)
    at: dict[int, list[int]] = {}
    for k, generator in enumerate(case.generators):
        if generator.in_service:
            at.setdefault(network.position[generator.bus], []).append(k)
    for bus, members in at.items():
        mva = np.array([max(case.generators[k].mva, 1e-9) for k in members])
        share = (mva / mva.sum())[:, None]
        scheduled = np.array([case.generators[k].p for k in members])[:, None]
        scheduled = scheduled * (
            np.ones((len(members), scenarios))
            if generation_factor is None
            else generation_factor[members]
        )
        active = scheduled + share * (total[bus].real - scheduled.sum(0))
        given = np.array([case.generators[k].q for k in members])[:, None]
        held = any(case.generators[k].v_set is not None for k in members)
        rest = total[bus].imag - given.sum(0) if held else 0.0
        supply[members] = active + 1j * (given + share * rest)
    return supply


def check_machines(case: Case, machines: set[str]) -> None:
    """Refuse generators that supply power and have no dynamic model.

    Raises:
        InputError: One has none.
    """
    for generator in case.generators:
        if generator.in_service and generator.id not in machines:
            raise InputError(
                f"generator {generator.id} at bus {generator.bus} supplies {generator.p:g} pu and "
                "has no machine model and no converter; give its data, or make it a load with a "
                "negative p",
                rule="power.machine",
            )
