"""Structures that Python and the compiled library share, see the headers in ``compiled``."""

from __future__ import annotations

import ctypes

MATRICES = ("decode", "encode", "angle_modes", "last")
NETWORKS = ("enter", "leave", "start", "step", "out", "gate", "mixed")


def fields(kind: type, names: str) -> tuple[tuple[str, type], ...]:
    """Fields of one type."""
    return tuple((name, kind) for name in names.split())


class Matrix(ctypes.Structure):
    """What networks.h calls Matrix."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("tiles", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("halves", ctypes.c_int64),
    )


class LearnedStruct(ctypes.Structure):
    """What windows.h calls Learned."""

    _fields_ = (
        *fields(ctypes.c_int64, "nodes modes width features hidden experts machines degrees"),
        *fields(ctypes.c_double, "horizon move"),
        *fields(ctypes.c_void_p, "times points spectrum gauss at_nodes at_gauss"),
        *fields(ctypes.c_void_p, "weight center spread reach"),
        *fields(ctypes.c_void_p, "mode_spread residual change angles inertia"),
        *((name, Matrix) for name in (*MATRICES, *NETWORKS)),
        *fields(ctypes.c_void_p, "layers corrector_layers"),
    )


class Demand(ctypes.Structure):
    """What windows.h calls Demand."""

    _fields_ = (
        *fields(ctypes.c_double, "bound factor residual floor classical tolerance end"),
        *fields(ctypes.c_double, "first slowest unsteady grows separation at_once shortest"),
        ("parts", ctypes.c_double * 2),
        ("doubt", ctypes.c_double * 2),
        *fields(ctypes.c_int64, "corrections refuse"),
    )


class CourseStruct(ctypes.Structure):
    """What windows.h calls Course."""

    _fields_ = (
        *fields(ctypes.c_int64, "scenarios count capacity accepted"),
        *fields(ctypes.c_void_p, "list topology"),
        *fields(ctypes.c_int64, "parameters impedances online"),
        *fields(ctypes.c_void_p, "places rows z t stop x y score spread classical"),
        *fields(ctypes.c_void_p, "at_once corrected why of begin end first coefficients"),
    )


class Views(ctypes.Structure):
    """What windows.h calls Views."""

    _fields_ = (
        *fields(ctypes.c_int64, "count outputs rows degrees"),
        *fields(ctypes.c_double, "horizon rounding"),
        *fields(ctypes.c_void_p, "of begin end times first spectra out"),
    )


class Passed(ctypes.Structure):
    """What stretch.h calls Passed."""

    _fields_ = (
        *fields(ctypes.c_int64, "count outputs rows states"),
        ("rounding", ctypes.c_double),
        *fields(ctypes.c_void_p, "of row steps first begin end times x f out"),
    )


class Spreads(ctypes.Structure):
    """What stretch.h calls Spreads."""

    _fields_ = (
        *fields(ctypes.c_int64, "count states machines"),
        *fields(ctypes.c_double, "far separation"),
        *fields(ctypes.c_void_p, "steps first row x online largest beyond last"),
    )
