"""Counts on paper against built networks and the products that a forward pass really makes."""

import subprocess
import sys

import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from biomol.model.count import (
    activation_memory,
    count_flops,
    count_parameters,
    optimizer_memory,
    presets,
)
from biomol.model.network import TRACKS, BioMol
from scimind.nn import Linear
from small_complexes import (
    batch_of,
    features_of,
    forward,
    hidden,
    molecule,
    peptide,
    small_config,
    small_network,
)

pytestmark = pytest.mark.usefixtures("runtime")

PRESETS = presets()


@pytest.mark.parametrize("name", PRESETS)
def test_the_parameters_of_every_preset_are_counted_exactly(name):
    config = PRESETS[name]
    with no_init_parameters():
        network = BioMol(config)
    assert count_parameters(config) == sum(int(np.prod(p.shape)) for p in network.get_parameters())


@pytest.mark.parametrize("pair_update", ["none", "multiplication", "full"])
def test_outputs_and_pair_updates_are_counted_exactly(pair_update):
    config = small_config(pair_update=pair_update, trunk_blocks=3, denoiser_blocks=2)
    network = BioMol(config)
    assert count_parameters(config) == sum(p.size for p in network.get_parameters())
    assert optimizer_memory(config, moving_average=False) == 16 * count_parameters(config)


@pytest.mark.parametrize("tracks", TRACKS)
@pytest.mark.parametrize("pair_update", ["none", "multiplication", "full"])
def test_operations_are_those_of_the_shapes_that_a_forward_pass_meets(
    monkeypatch, pair_update, tracks
):
    from biomol.model import triangle, trunk

    seen = []
    construct, attention, product = Linear.construct, trunk.attention, triangle.triangle_multiply

    def linear(self, x):
        seen.append(2 * int(np.prod(x.shape)) * self.out_features)
        return construct(self, x)

    def attend(query, key, value, **more):
        batch, heads, queries, dim = query.shape
        seen.append(4 * batch * heads * queries * key.shape[2] * dim)
        return attention(query, key, value, **more)

    def multiply(left, right, incoming):
        axis = 2 if incoming else 1  # of the tokens that are not summed over
        seen.append(2 * left.size * right.shape[axis])
        return product(left, right, incoming)

    network = small_network(pair_update=pair_update, trunk_blocks=2)
    features = [features_of(peptide()), features_of(molecule())]
    inputs, _ = batch_of(features, [hidden(f, visible=True, sigma=1.0) for f in features])
    monkeypatch.setattr(Linear, "construct", linear)
    monkeypatch.setattr(trunk, "attention", attend)
    monkeypatch.setattr(triangle, "attention", attend)
    monkeypatch.setattr(triangle, "triangle_multiply", multiply)
    forward(network, inputs, tracks)
    assert count_flops(network.config, 2, 32, tracks) == sum(seen)


def test_costs_grow_as_the_theory_says():
    config = PRESETS["base"]
    short, long = (count_flops(config, 1, n, "structure") for n in (256, 512))
    assert 4 < long / short < 8, "pairs cost the square, triangles the cube of the tokens"
    assert count_flops(config, 3, 256, "structure") == 3 * short
    costs = [count_flops(config, 1, 256, tracks) for tracks in TRACKS]
    assert costs == sorted(costs)
    assert len(set(costs)) == 3
    half, whole = (activation_memory(config, 1, 256, "structure", size) for size in (2, 4))
    assert whole == 2 * half
    # the pair representation alone, once per block
    assert whole > 4 * config.trunk_blocks * 256**2 * config.dim_pair


def test_the_table_names_every_preset():
    done = subprocess.run(
        [sys.executable, "-m", "biomol.model.count", "128"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(PRESETS)
    assert f"{count_parameters(PRESETS['tiny']):,}" in lines[2]
