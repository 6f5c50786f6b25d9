"""Gradients of simulations: the discrete adjoint on MindSpore against difference quotients.

A loss of the rotor angles of the nine-bus system over 5 s with a fault, by all set-points, loads,
inertias and dampings (18 numbers in each scenario). Process CPU time of one core, compilation
apart; the quotients are one-sided, of the classical engine with the same steps: one simulation and
one more for each parameter, all scenarios of a batch together. Takes about three minutes.

    python benchmarks/dae_gradient.py
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from dae_solver.differentiable import DifferentiableGrid
from dae_solver.physics import PowerSystem, fault
from report import report
from scimind.device.setup import setup

NAMES = ["TWOAXIS.M", "TWOAXIS.D"]
DIFFERENTIATED = ["vref", "pref", "p0", "q0", *NAMES]


def seconds(function: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Least CPU time of some calls, and what the last returned."""
    found, value = [], None
    for _ in range(rounds):
        began = time.process_time()
        value = function()
        found.append(time.process_time() - began)
    return min(found), value


class Problem:
    """A batch, its loss, and both ways to differentiate it."""

    def __init__(self, batch: int, options: argparse.Namespace) -> None:
        self.system = PowerSystem.load("wscc9", load=options.load)
        self.grid = DifferentiableGrid(self.system, NAMES)
        rng = np.random.default_rng(0)
        clear = rng.uniform(0.04, 0.1, batch)
        self.scenarios = self.system.scenarios(
            *(fault(7, t=0.1, clear=float(each)) for each in clear),
            load_level=rng.uniform(0.9, 1.05, batch),
        )
        self.x, self.p = self.grid.start(self.scenarios)
        self.rows = self.grid.states("delta")
        self.options = {"t_end": options.t_end, "every": 1 / 30, "step": 1 / options.rate}
        self.weight = self.grid.tensor(np.array([1.0, -0.4, -0.6])[:, None])
        self.compute = ms.value_and_grad(self.loss)

    def loss(self, p: Any) -> Any:
        path = self.grid.simulate(self.x, p, self.scenarios, **self.options)
        delta = path[:, self.rows]
        return ((delta * self.weight).sum(1) ** 2).mean(0).sum()

    def value(self) -> float:
        return float(self.loss(self.p).asnumpy())

    def gradient(self) -> np.ndarray:
        _, found = self.compute(self.p)
        return np.concatenate([found.asnumpy()[self.grid.rows[n]] for n in DIFFERENTIATED])

    def engine(self, p: np.ndarray) -> np.ndarray:
        """The loss of each scenario, by the classical engine."""
        scenarios = copy.copy(self.scenarios)
        named = {name: p[rows] for name, rows in self.grid.rows.items()}
        scenarios.parameters = dict(scenarios.parameters) | named
        path = self.system.simulate(scenarios, tolerance=1e-10, **self.options).solution.x
        delta = path[..., self.rows] @ self.weight.asnumpy()[:, 0]
        return np.asarray((delta**2).mean(1))

    def classical(self) -> np.ndarray:
        return self.engine(self.p.asnumpy())

    def quotients(self) -> np.ndarray:
        base = self.p.asnumpy()
        first = self.engine(base)
        found = []
        for name in DIFFERENTIATED:
            rows = self.grid.rows[name]
            for row in range(rows.start, rows.stop):
                step = 1e-6 * np.maximum(np.abs(base[row]), 0.1)
                moved = base.copy()
                moved[row] += step
                found.append((self.engine(moved) - first) / step)
        return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", default="zip 0.4 0.3 0.3")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--t-end", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=60, help="steps by second")
    parser.add_argument(
        "--output", type=Path, help="benchmarks/dae_gradient.json keeps the results"
    )
    options = parser.parse_args()
    setup(threads=1)
    load, rows = os.getloadavg()[0], []
    for batch in options.batch:
        problem = Problem(batch, options)
        began = time.process_time()
        problem.gradient()
        first = time.process_time() - began
        value, _ = seconds(problem.value, options.rounds)
        gradient, ours = seconds(problem.gradient, options.rounds)
        classical, _ = seconds(problem.classical, options.rounds)
        quotients, theirs = seconds(problem.quotients, 1)
        row = {
            "batch": batch,
            "parameters": len(ours),
            "step": f"1/{options.rate}",
            "first_call_cpu_s": round(first, 2),
            "value_cpu_s": round(value, 3),
            "value_and_gradient_cpu_s": round(gradient, 3),
            "engine_value_cpu_s": round(classical, 3),
            "engine_quotients_cpu_s": round(quotients, 3),
            "gain": round(quotients / gradient, 2),
            "largest_difference": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    what = "Value and gradient of a simulation of the nine-bus system, CPU time"
    results = {"load_average_at_the_start": round(load, 1), "results": rows}
    report(__file__, what, results, options.output)


if __name__ == "__main__":
    main()
