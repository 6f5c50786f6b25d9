"""Fixed descriptions of molecules: Morgan fingerprints and RDKit descriptors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import rdBase
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from biomol.io.ligand import parse_smiles
from biomol.tasks.baselines.ridge import Features
from scimind.eval import Item
from scimind.typing import Float

MORGAN_BITS = 1024
MORGAN_RADIUS = 2
_LARGEST = 1e6


def morgan(smiles: Sequence[str]) -> Float[np.ndarray, "molecule bit"]:
    """Morgan fingerprints of radius 2 (ECFP4) folded to 1024 bits.

    Source: Rogers and Hahn, J. Chem. Inf. Model. 50, 742 (2010).
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    rows = [generator.GetFingerprintAsNumPy(parse_smiles(text)) for text in smiles]
    return np.asarray(rows, np.float32).reshape(len(smiles), MORGAN_BITS)


def descriptors(
    smiles: Sequence[str], count: int | None = None
) -> Float[np.ndarray, "molecule descriptor"]:
    """RDKit's two-dimensional descriptors in its own order; undefined ones are 0.

    Args:
        smiles: The molecules.
        count: Only the first so many. The first 60 are partial charges, topology and surface
            areas; the estimate of logP, which knows solubility well, comes later.
    """
    functions = [function for _, function in Descriptors.descList[:count]]
    rows = []
    for text in smiles:
        mol = parse_smiles(text)
        with rdBase.BlockLogs():  # a salt's lone [H+] is warned about once per descriptor
            rows.append([float(function(mol)) for function in functions])
    values = np.asarray(rows, np.float64).reshape(len(smiles), len(functions))
    return np.clip(np.nan_to_num(values), -_LARGEST, _LARGEST)


def morgan_features(
    training: Sequence[Item], items: Sequence[Item]
) -> tuple[Float[np.ndarray, "train bit"], Float[np.ndarray, "test bit"]]:
    """Fingerprints of training and evaluated molecules."""
    train, test = (morgan([item.inputs.key for item in group]) for group in (training, items))
    return train, test


def with_descriptors(count: int | None) -> Features:
    """Fingerprints and the first ``count`` descriptors (all for None) side by side."""

    def features(training: Sequence[Item], items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
        train, test = (
            np.concatenate([morgan(keys), descriptors(keys, count)], axis=1)
            for keys in ([item.inputs.key for item in group] for group in (training, items))
        )
        return train, test

    return features
