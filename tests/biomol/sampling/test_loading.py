"""What a result file learns about the network behind it."""

from pathlib import Path

import pytest

from biomol.sampling import loading
from small_complexes import small_network

pytestmark = pytest.mark.usefixtures("runtime")


def test_runs_that_differ_in_the_seed_are_one_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "manifest_digest", lambda _: "0")
    network = small_network()

    def facts(**settings: object) -> dict[str, object]:
        state = {"step": 1, "seed": settings["seed"], "settings": {"model": {}, **settings}}
        return loading.describe(network, Path("unused"), state, "fp32")

    first, second = facts(seed=0, steps=10, output="a"), facts(seed=1, steps=10, output="b")
    longer = facts(seed=0, steps=20, output="a")
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["config_hash"] == second["config_hash"] != longer["config_hash"]
