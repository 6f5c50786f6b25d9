"""FreeSolv: Hydration free energy of 642 molecules (Mobley and Guthrie 2014, MoleculeNet)."""

from __future__ import annotations

from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.tasks.property_task import MoleculeTask
from scimind.eval.task import register


@register
class FreeSolv(MoleculeTask):
    """Hydration free energy of 642 molecules (Mobley and Guthrie 2014, MoleculeNet)."""

    name, primary, kind, unit = "freesolv", "rmse", "regression", "kcal/mol"
    properties = ("freesolv",)
    description = "Hydration free energy of 642 molecules (Mobley and Guthrie 2014, MoleculeNet)."

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        return load_moleculenet(folder / "property" / "moleculenet", "freesolv")
