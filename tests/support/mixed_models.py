"""The nine-bus system with machines and regulators of every model, with typical data."""

from __future__ import annotations

import copy
from typing import Any

from dae_solver.physics import PowerSystem
from dae_solver.physics.case import Case, Device

GENROU = {"M": 12.8, "D": 2.0, "ra": 0.002, "xl": 0.06, "xd": 0.9, "xq": 0.86, "xd1": 0.2}
GENROU |= {"xq1": 0.25, "xd2": 0.12, "xq2": 0.12, "S10": 0.05, "S12": 0.3}
TWOAXIS = {"M": 12.8, "D": 2.0, "D3": 30.0, "xd": 0.8958, "xq": 0.8645, "xd1": 0.1198}
TWOAXIS |= {"xq1": 0.1969, "Td10": 6.0, "Tq10": 0.535, "ra": 0.001}
CURVE = {"E1": 2.4, "SE1": 0.05, "E2": 5.0, "SE2": 0.5}
FILTER = {"A1": 0.02, "A2": 0.001, "A3": 0.03, "A4": 0.002, "A5": 0.01, "A6": 0.0005}
LEADS = {"T1": 0.2, "T2": 0.05, "T3": 0.15, "T4": 0.04, "T5": 3.0, "T6": 3.0, "KS": 2.0}

VARIANTS: dict[str, list[tuple[str, str, dict[str, float]]]] = {
    "first": [
        ("GENROU", "G1", {**GENROU, "M": 47.28}),
        ("EXDC2", "G1", CURVE),
        ("TGOV1", "G1", {"VMAX": 5.0, "Dt": 0.1}),
        ("IEEEST", "G1", {"MODE": 1.0, **LEADS}),
        ("TWOAXIS", "G2", TWOAXIS),
        ("IEEEX1", "G2", CURVE),
        ("IEEEG1", "G2", {"K": 20.0, "K1": 0.3, "K3": 0.4, "K5": 0.3}),
        ("IEEEST", "G2", {"MODE": 3.0, **FILTER, **LEADS, "KS": 0.1, "VCL": 0.1, "VCU": 2.0}),
        ("GENCLS", "G3", {"M": 6.02, "D": 1.0, "xd1": 0.18}),
        ("TGOV1DB", "G3", {"dbL": -0.0006, "dbU": 0.0006, "VMAX": 5.0}),
    ],
    "second": [
        ("GENROU", "G1", {**GENROU, "M": 47.28}),
        ("EXST1", "G1", {"VIMIN": -0.2}),
        ("IEEEG1", "G1", {}),
        ("TWOAXIS", "G2", TWOAXIS),
        ("SEXS", "G2", {}),
        ("TGOV1DB", "G2", {"dbL": -0.0006, "dbU": 0.0006, "VMAX": 5.0}),
        ("GENROU", "G3", {**GENROU, "M": 6.02}),
        ("IEEET1", "G3", {**CURVE, "TR": 0.02}),
        ("IEEEST", "G3", {"MODE": 4.0, **LEADS}),
    ],
}


def mixed_case(variant: str) -> Case:
    case = copy.deepcopy(PowerSystem.load("wscc9").case)
    case.devices = [
        Device(model=model, id=machine, of=machine, parameters=dict(parameters), mva=100.0)
        for model, machine, parameters in VARIANTS[variant]
    ]
    return case


def nearby(scenarios: Any, rng: Any, size: float = 0.01) -> tuple[Any, Any]:
    """States and voltages away from rest."""
    x, y = scenarios.x0, scenarios.y0
    x = x + size * rng.standard_normal(x.shape)
    return x, y + size * rng.standard_normal(y.shape)
