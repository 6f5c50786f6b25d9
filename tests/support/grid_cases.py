"""Grids with models, loads, converters and terms of every kind, by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from andes_process import andes
from converter_cases import wscc_with_converter
from dae_solver.physics import LoadModel, PowerSystem
from dae_solver.unknown import LibraryTerm, LoadRecovery, NeuralTerm
from mixed_models import mixed_case
from power_cases import reference_case

ANDES_CASES = {"kundur": "kundur/kundur_full.xlsx"}
ZIP, EXPONENTIAL = LoadModel(z=0.4, i=0.3, p=0.3), LoadModel(alpha=1.35, beta=2.6)


def andes_case(name: str, folder: Path) -> Path:
    path = folder / f"{name}.json"
    andes("convert", ANDES_CASES[name], path)
    return path


def system_of(name: str, folder: Path, real_data: Path | None) -> PowerSystem:
    case, _, load = name.partition(" ")
    model = {"": LoadModel(), "zip": ZIP, "exponential": EXPONENTIAL}[load]
    if case == "wscc9":
        return PowerSystem.load("wscc9", load=model)
    if case == "ieee39":
        assert real_data is not None
        return PowerSystem(reference_case(real_data / "dae_solver" / "ieee39.json"), model)
    if case == "terms":
        return with_terms(model)
    if case.startswith("converter"):
        _, _, loop = case.partition("-")
        control = {"QFLAG": 1.0, "VFLAG": 1.0} if loop else {"PFFLAG": 1.0}
        return PowerSystem(wscc_with_converter(loop or None, control), model)
    if case in ANDES_CASES:
        return PowerSystem.load(andes_case(case, folder), load=model)
    return PowerSystem(mixed_case(case), model)


def with_terms(model: LoadModel) -> PowerSystem:
    """Terms of all kinds at machines and loads, and parameters other than those of the case."""
    names = ["linear", "quadratic", "cubic", "dead band"]
    terms = [
        LibraryTerm("pref", names),
        LibraryTerm("load.p", ["current", "frequency", "exponent"]),
        NeuralTerm("torque", ["speed", "v"], 2),
        LoadRecovery("load.q"),
    ]
    rng = np.random.default_rng(5)
    for term in terms:
        first = np.array([each.nominal for each in term.coefficients()])
        term.values = first + rng.uniform(0.01, 0.5, first.shape)
    given = {"kpf": np.full(3, 1.5), "TWOAXIS.M": np.array([50.0, 14.0, 7.0])}
    return PowerSystem(PowerSystem.load("wscc9").case, model, terms=terms, parameters=given)
