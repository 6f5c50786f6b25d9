"""Reaction kinetics."""

from __future__ import annotations

from dae_solver.solver import DAESystem


def robertson() -> DAESystem:
    """Robertson's reaction of three species, stiff over 17 decades of time; the third is algebraic.

    At ``t = 1e11`` the first is 2.0833e-8. Index 1.

    Source: Robertson (1966), in Mazzia and Magherini, Test Set for Initial Value Problem Solvers.
    """
    import sympy

    t, a, b, c = sympy.symbols("t y1 y2 y3")
    k1, k2, k3 = sympy.symbols("k1 k2 k3")
    return DAESystem.from_sympy(
        t,
        x=[a, b],
        y=[c],
        f=[-k1 * a + k2 * b * c, k1 * a - k2 * b * c - k3 * b**2],
        g=[a + b + c - 1],
        p={k1: 0.04, k2: 1e4, k3: 3e7},
        x0=[1.0, 0.0],
        y0=[0.0],
        x_scale=[1e-7, 1e-12],
    )


def akzo() -> DAESystem:
    """The chemical Akzo Nobel process: two species react while carbon dioxide dissolves.

    Concentrations in mol/l, time in minutes, 0 to 180; the sixth is algebraic. At the end the
    first is 0.1150794920661702. Index 1.

    Source: Stortelder (1998), in Mazzia and Magherini, Test Set for Initial Value Problem Solvers.
    """
    import sympy

    t = sympy.Symbol("t")
    y1, y2, y3, y4, y5, y6 = sympy.symbols("y1:7")
    k1, k2, k3, k4, ratio, kla, ks, pressure, henry = sympy.symbols("k1 k2 k3 k4 K klA Ks pCO2 H")
    root = sympy.sqrt(y2)
    r1, r2, r3 = k1 * y1**4 * root, k2 * y3 * y4, k2 / ratio * y1 * y5
    r4, r5 = k3 * y1 * y4**2, k4 * y6**2 * root
    inflow = kla * (pressure / henry - y2)
    return DAESystem.from_sympy(
        t,
        x=[y1, y2, y3, y4, y5],
        y=[y6],
        f=[
            -2 * r1 + r2 - r3 - r4,
            -r1 / 2 - r4 - r5 / 2 + inflow,
            r1 - r2 + r3,
            -r2 + r3 - 2 * r4,
            r2 - r3 + r5,
        ],
        g=[ks * y1 * y4 - y6],
        p={
            k1: 18.7,
            k2: 0.58,
            k3: 0.09,
            k4: 0.42,
            ratio: 34.4,
            kla: 3.3,
            ks: 115.83,
            pressure: 0.9,
            henry: 737.0,
        },
        x0=[0.444, 0.00123, 0.0, 0.007, 0.0],
        y0=[0.36],
    )
