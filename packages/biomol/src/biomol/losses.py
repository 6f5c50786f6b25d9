"""Training losses, one function per term, and the cell that weighs them."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from biomol.chem.vocab import REPRESENTATIVE_SLOT
from biomol.config.loss import LossConfig
from biomol.model.encoding import one_hot
from biomol.model.geometry import pair_distances, reliability_at, superpose
from biomol.model.network import BioMol
from scimind.ops import spread
from scimind.typing import Float, Int

EPSILON = 1e-8


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over all entries of positive weight; 0 where there is none."""
    return (values * weight).sum() / (weight.sum() + EPSILON)


def cross_entropy(
    logits: Float[Tensor, "*batch classes"], target: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Negative log-likelihood of each target class, in nats."""
    largest = ops.stop_gradient(logits.max(axis=-1, keepdims=True))
    shifted = logits - spread(largest, logits.shape)
    log_sum = ops.log(ops.exp(shifted).sum(axis=-1))
    chosen = (shifted * one_hot(target, logits.shape[-1])).sum(axis=-1)
    return log_sum - chosen


def coordinate_error(
    predicted: Float[Tensor, "batch token slot 3"],
    target: Float[Tensor, "batch token slot 3"],
    sigma: Float[Tensor, "batch token slot"],
    width: Float[Tensor, "batch token slot"],
    weight: Float[Tensor, "batch token slot"],
) -> Float[Tensor, ""]:
    """Squared deviation per atom, each weighted by (sigma^2 + width^2) / (sigma width)^2.

    With this weight every noise level asks the same of the network output (Karras et al. 2022,
    table 1), with 25 as the largest weight (noise of 0.2 angstrom). Averaged over the atoms of a
    complex, then over complexes.
    """
    scale = (ops.square(sigma) + ops.square(width)) / (ops.square(sigma * width) + EPSILON)
    squared = ops.square(predicted - target).sum(axis=-1) / 3.0
    scale = ops.minimum(scale, Tensor(25.0))
    per_complex = (squared * scale * weight).sum(axis=(1, 2)) / (weight.sum(axis=(1, 2)) + EPSILON)
    has_atoms = (weight.sum(axis=(1, 2)) > 0).astype(per_complex.dtype)
    return weighted_mean(per_complex, has_atoms)


def prior_error(
    expected: Float[Tensor, "batch token slot 3"],
    target: Float[Tensor, "batch token slot 3"],
    width: Float[Tensor, "batch token slot"],
    weight: Float[Tensor, "batch token slot"],
) -> Float[Tensor, ""]:
    """Mean squared deviation of what the prior expects, in units of its width.

    The coordinate error trains the prior only as far as noise hides the atoms; this at every level.
    """
    squared = ops.square(expected - target).sum(axis=-1) / (3.0 * ops.square(width))
    return weighted_mean(squared, weight)


def framed_weight(
    sigma: Float[Tensor, "batch token slot"], weight: Float[Tensor, "batch token slot"]
) -> Float[Tensor, "batch token slot"]:
    """Weight of each atom that its token's frame says something about: not the frame's origin."""
    known = reliability_at(sigma[..., REPRESENTATIVE_SLOT]).expand_dims(-1)
    others = np.ones((1, 1, weight.shape[-1]), np.float32)
    others[..., REPRESENTATIVE_SLOT] = 0.0
    return weight * spread(known, weight.shape) * spread(Tensor(others), weight.shape)


def smooth_lddt(
    distance: Float[Tensor, "batch token token"],
    true_distance: Float[Tensor, "batch token token"],
    weight: Float[Tensor, "batch token token"],
) -> Float[Tensor, " batch"]:
    """Differentiable lDDT over pairs closer than 15 angstrom (AlphaFold 3, algorithm 27)."""
    near = (true_distance < 15.0).astype(distance.dtype) * weight
    deviation = ops.abs(distance - true_distance)
    score = 0.0
    for threshold in (0.5, 1.0, 2.0, 4.0):
        score = score + 0.25 * ops.sigmoid(threshold - deviation)
    return (score * near).sum(axis=(1, 2)) / (near.sum(axis=(1, 2)) + EPSILON)


def distance_bins(distance: Float[Tensor, "*batch"], count: int) -> Int[Tensor, "*batch"]:
    """Index of the bin of each distance: equal bins from 2 to 22 angstrom, open at both ends."""
    index = ops.floor((distance - 2.0) / (20.0 / (count - 2))) + 1
    return ops.clamp(index, 0, count - 1).astype(np.int32)


METRICS = (
    "identity", "identity_accuracy", "coordinates", "prior", "lddt", "bonds", "distogram",
    "properties", "token_labels", "token_label_accuracy",
)  # fmt: skip


class BioMolLoss(nn.Cell):
    """Weighted sum of the terms that a batch has targets for.

    ``construct(key, tracks, *inputs, *targets)`` returns the loss and the vector of `METRICS`,
    NaN where the batch says nothing about a term.
    """

    metric_names = METRICS

    def __init__(self, network: BioMol, config: LossConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config
        model = network.config
        self.bins = model.num_distance_bins
        self.classes = tuple(model.token_labels.values())
        binary = [float(name in model.binary_properties) for name in model.properties]
        self.binary = Tensor(np.array(binary or [0.0], np.float32))

    def identity_terms(
        self,
        logits: Float[Tensor, "batch token identity"],
        restype: Int[Tensor, "batch token"],
        weight: Float[Tensor, "batch token"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Cross-entropy and accuracy of hidden identities."""
        loss = weighted_mean(cross_entropy(logits, restype), weight)
        correct = (logits.argmax(axis=-1) == restype).astype(loss.dtype)
        return loss, weighted_mean(correct, (weight > 0).astype(loss.dtype))

    def property_term(
        self,
        values: Float[Tensor, "batch property"],
        prop: Float[Tensor, "batch property"],
        weight: Float[Tensor, "batch property"],
    ) -> Float[Tensor, ""]:
        """Squared error, of binary properties the cross-entropy of the logit."""
        squared = ops.square(values - prop)
        entropy = ops.relu(values) - values * prop + ops.log1p(ops.exp(-ops.abs(values)))
        return weighted_mean(squared * (1.0 - self.binary) + entropy * self.binary, weight)

    def label_terms(
        self,
        logits: Float[Tensor, "batch token logit"],
        target: Int[Tensor, "batch token label"],
        weight: Float[Tensor, "batch token label"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Summed cross-entropy of all kinds of token label, and their mean accuracy."""
        loss, accuracy, start = 0.0, 0.0, 0
        for index, count in enumerate(self.classes):
            part = logits[..., start : start + count]
            start = start + count
            known = weight[..., index]
            wanted = ops.maximum(target[..., index], Tensor(0))
            loss = loss + weighted_mean(cross_entropy(part, wanted), known)
            correct = (part.argmax(axis=-1) == wanted).astype(part.dtype)
            accuracy = accuracy + weighted_mean(correct, known)
        return loss, accuracy / max(len(self.classes), 1)

    def structure_terms(
        self,
        clean: Float[Tensor, "batch token slot 3"],
        expected: Float[Tensor, "batch token slot 3"],
        distogram: Float[Tensor, "batch token token bin"],
        visible: Float[Tensor, "batch token slot"],
        positions: Float[Tensor, "batch token slot 3"],
        sigma: Float[Tensor, "batch token slot"],
        bond: Int[Tensor, "batch token token"],
        topology: Int[Tensor, "batch token token"],
        coords: Float[Tensor, "batch token slot 3"],
        weight: Float[Tensor, "batch token slot"],
        align: Float[Tensor, " batch"],
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """Coordinate and prior error, smooth lDDT, bond error, distogram entropy; and counts.

        The counts are how many complexes have pairs to compare, how many pairs are bonded, and the
        weight of the atoms in known frames.
        """
        batch, tokens, slots = weight.shape
        flat_target = coords.reshape((batch, tokens * slots, 3))
        flat_clean = clean.reshape((batch, tokens * slots, 3))
        fitted = superpose(
            flat_target, ops.stop_gradient(flat_clean), weight.reshape((batch, tokens * slots))
        )
        free = align.reshape((batch, 1, 1))
        target = ops.stop_gradient(fitted * free + flat_target * (1.0 - free))
        target = target.reshape((batch, tokens, slots, 3))
        width = self.network.denoiser.prior.width(sigma)
        coordinates = coordinate_error(clean, target, sigma, width, weight)
        framed = framed_weight(sigma, weight)
        prior = prior_error(expected, target, width, framed)

        rep = REPRESENTATIVE_SLOT
        moved = weight[:, :, rep]
        resolved = ops.maximum(
            moved, visible[:, :, rep] * (sigma[:, :, rep] <= 0).astype(moved.dtype)
        )
        pair = moved[:, :, None] * resolved[:, None, :]
        pair = pair * (1.0 - ops.eye(tokens, tokens, pair.dtype))
        distance = pair_distances(clean[:, :, rep], clean[:, :, rep])
        true_distance = pair_distances(coords[:, :, rep], coords[:, :, rep])
        lddt = smooth_lddt(distance, true_distance, pair)
        has_pairs = (pair.sum(axis=(1, 2)) > 0).astype(lddt.dtype)
        bonded = ops.logical_and(topology > 0, topology <= 3)
        bonded = ops.logical_or(bonded, bond == 5).astype(pair.dtype) * pair
        bonds = weighted_mean(ops.abs(distance - true_distance), bonded)
        entropy = cross_entropy(distogram, distance_bins(true_distance, self.bins))
        terms = (coordinates, prior, weighted_mean(lddt, has_pairs), bonds,
                 weighted_mean(entropy, pair))  # fmt: skip
        return terms, (has_pairs.sum(), bonded.sum(), framed.sum())

    def construct(
        self,
        key: Int[Tensor, "2"],
        tracks: str,
        token_mask: Float[Tensor, "batch token"],
        mol_type: Int[Tensor, "batch token"],
        token: Int[Tensor, "batch token"],
        res_index: Int[Tensor, "batch token"],
        chain_id: Int[Tensor, "batch token"],
        entity_id: Int[Tensor, "batch token"],
        charge: Float[Tensor, "batch token"],
        chirality: Int[Tensor, "batch token"],
        bond: Int[Tensor, "batch token token"],
        topology: Int[Tensor, "batch token token"],
        atom_visible: Float[Tensor, "batch token slot"],
        positions: Float[Tensor, "batch token slot 3"],
        sigma: Float[Tensor, "batch token slot"],
        prop_value: Float[Tensor, "batch property"],
        prop_given: Float[Tensor, "batch property"],
        restype: Int[Tensor, "batch token"],
        restype_weight: Float[Tensor, "batch token"],
        coords: Float[Tensor, "batch token slot 3"],
        coord_weight: Float[Tensor, "batch token slot"],
        align: Float[Tensor, " batch"],
        prop: Float[Tensor, "batch property"],
        prop_weight: Float[Tensor, "batch property"],
        token_label: Int[Tensor, "batch token label"],
        token_label_weight: Float[Tensor, "batch token label"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " metric"]]:
        identity_logits, values, labels, clean, distogram, expected = self.network(
            key, tracks, token_mask, mol_type, token, res_index, chain_id, entity_id, charge,
            chirality, bond, topology, atom_visible, positions, sigma, prop_value, prop_given,
        )  # fmt: skip
        config = self.config
        missing = Tensor(float("nan"))
        identity, accuracy = self.identity_terms(identity_logits, restype, restype_weight)
        has_identity = restype_weight.sum() > 0
        loss = config.identity * identity
        properties, token_labels, label_accuracy = missing, missing, missing
        coordinates, expectation, lddt = missing, missing, missing
        bonds, distances = missing, missing
        if values is not None:
            term = self.property_term(values, prop, prop_weight)
            loss = loss + config.properties * term
            properties = ops.select(prop_weight.sum() > 0, term, missing)
        if labels is not None:
            term, hits = self.label_terms(labels, token_label, token_label_weight)
            loss = loss + config.token_labels * term
            has_labels = token_label_weight.sum() > 0
            token_labels = ops.select(has_labels, term, missing)
            label_accuracy = ops.select(has_labels, hits, missing)
        if tracks == "structure":
            terms, counts = self.structure_terms(
                clean, expected, distogram, atom_visible, positions, sigma, bond, topology, coords,
                coord_weight, align,
            )  # fmt: skip
            error, prior, score, bond_error, entropy = terms
            num_pairs, num_bonded, framed = counts
            has_pairs = num_pairs > 0
            loss = loss + config.coordinates * error + config.prior * prior
            loss = loss + config.bonds * bond_error
            loss = loss + config.distogram * entropy
            loss = loss + config.lddt * ops.select(has_pairs, 1.0 - score, ops.zeros_like(score))
            coordinates = ops.select(coord_weight.sum() > 0, error, missing)
            expectation = ops.select(framed > 0, prior, missing)
            lddt = ops.select(has_pairs, score, missing)
            distances = ops.select(has_pairs, entropy, missing)
            bonds = ops.select(num_bonded > 0, bond_error, missing)
        metrics = ops.stack(
            (
                ops.select(has_identity, identity, missing),
                ops.select(has_identity, accuracy, missing),
                coordinates, expectation, lddt, bonds, distances, properties, token_labels,
                label_accuracy,
            )
        )  # fmt: skip
        return loss, metrics
