"""Lipophilicity: Octanol-water distribution at pH 7.4 of 4200 molecules (ChEMBL, MoleculeNet)."""

from __future__ import annotations

from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.tasks.property_task import MoleculeTask
from scimind.eval.task import register


@register
class Lipophilicity(MoleculeTask):
    """Octanol-water distribution at pH 7.4 of 4200 molecules (ChEMBL, MoleculeNet)."""

    name, primary, kind, unit = "lipophilicity", "rmse", "regression", "logD"
    properties = ("lipophilicity",)
    description = "Octanol-water distribution at pH 7.4 of 4200 molecules (ChEMBL, MoleculeNet)."

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        return load_moleculenet(folder / "property" / "moleculenet", "lipophilicity")
