"""Bbbp: Blood-brain barrier penetration of 2050 molecules (Martins et al. 2012, MoleculeNet)."""

from __future__ import annotations

from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.tasks.property_task import MoleculeTask
from scimind.eval.task import register


@register
class Bbbp(MoleculeTask):
    """Blood-brain barrier penetration of 2050 molecules (Martins et al. 2012, MoleculeNet)."""

    name, primary, kind, unit = "bbbp", "roc_auc", "binary", ""
    properties = ("bbbp",)
    description = (
        "Blood-brain barrier penetration of 2050 molecules (Martins et al. 2012, MoleculeNet)."
    )

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        return load_moleculenet(folder / "property" / "moleculenet", "bbbp")
