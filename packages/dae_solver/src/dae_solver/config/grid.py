"""What every command about a power system asks for."""

from __future__ import annotations

from dataclasses import dataclass

from scimind.config import RunConfig


@dataclass(kw_only=True)
class GridConfig(RunConfig):
    """Settings of a command about a power system.

    Attributes:
        case: A file (ANDES .xlsx or .json, PSS/E .raw, MATPOWER .m, our .json) or a built-in name.
        dyr: The PSS/E .dyr beside a .raw or .m.
        load: How loads depend on voltage: "zip Z I P" (shares) or "exponential ALPHA BETA".
    """

    case: str = "wscc9"
    dyr: str | None = None
    load: str = "zip 1 0 0"


def positive(**values: float) -> None:
    """Check that values are positive.

    Raises:
        ValueError: One is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}={value} must be positive")
