"""PSS/E ``.raw`` texts for tests, section by section."""

from __future__ import annotations

from collections.abc import Mapping

_BEFORE_31 = (
    *("bus", "load", "generator", "branch", "transformer", "area", "two-terminal dc", "vsc dc"),
    *("switched shunt", "impedance correction", "multi-terminal dc", "multi-section line", "zone"),
    *("inter-area transfer", "owner", "facts"),
)
_FROM_31 = (
    *("bus", "load", "fixed shunt", "generator", "branch", "transformer", "area"),
    *("two-terminal dc", "vsc dc", "impedance correction", "multi-terminal dc"),
    *("multi-section line", "zone", "inter-area transfer", "owner", "facts", "switched shunt"),
    *("gne", "induction machine"),
)
_FROM_34 = ("system-wide", *_FROM_31[:5], "switching device", *_FROM_31[5:], "substation")


def raw_text(sections: Mapping[str, str], version: int = 33, mva: float = 100.0) -> str:
    """A file with these sections, and the others empty."""
    order = _BEFORE_31 if version < 31 else _FROM_31 if version < 34 else _FROM_34
    assert set(sections) <= set(order)
    first = f"0, {mva}, {version}, 0, 1, 50.0 / made by hand"
    if version == 30:
        first = f"0, {mva} / PSS/E-30.0   TUE"
    lines = [first, "first title, with a / in it", "0 second title"]
    for name in order:
        lines += sections.get(name, "").strip("\n").split("\n") if name in sections else []
        lines.append(f"0 / END OF {name.upper()} DATA")
    return "\n".join([*lines, "Q", ""])
