"""Esol: Aqueous solubility of 1128 molecules (Delaney 2004, MoleculeNet)."""

from __future__ import annotations

from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.tasks.property_task import MoleculeTask
from scimind.eval.task import register


@register
class Esol(MoleculeTask):
    """Aqueous solubility of 1128 molecules (Delaney 2004, MoleculeNet)."""

    name, primary, kind, unit = "esol", "rmse", "regression", "log mol/L"
    properties = ("esol",)
    description = "Aqueous solubility of 1128 molecules (Delaney 2004, MoleculeNet)."

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        return load_moleculenet(folder / "property" / "moleculenet", "esol")
