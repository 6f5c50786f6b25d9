"""Running ahead changes neither the order, nor the position, nor where an error shows."""

import subprocess
import sys
import threading
import time
from itertools import islice

import numpy as np
import pytest

from scimind.data import Batches, MindSporeBatches, Mixture, Prefetch
from scimind.errors import InputError


class Letters:
    def __init__(self, length=20, corrupt=None):
        self.length = length
        self.corrupt = corrupt

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.corrupt:
            raise InputError("not a letter", rule="test.letter")
        return index


def stack(items, _bucket):
    return {"x": np.array(items, np.int32), "mask": np.array(items) > 3}


def stream(**keywords):
    return Batches(Letters(**keywords), stack, buckets=3, seed=0, shuffle=False)


class Slow:
    """A finite stream that counts how far it has been read."""

    def __init__(self, num, array, delay=0.0):
        self.num, self.array, self.delay = num, array, delay
        self.read = 0

    def __iter__(self):
        while self.read < self.num:
            time.sleep(self.delay)
            self.read += 1
            yield (self.array,)

    def state(self):
        return {"read": self.read}

    def restore(self, state):
        self.read = state["read"]


def test_order_is_unchanged_and_the_state_is_the_consumed_position():
    golden = [b["x"].tolist() for b in islice(stream(), 30)]
    ahead = Prefetch(stream(), depth=5)
    iterator = iter(ahead)
    for step in range(30):
        assert next(iterator)["x"].tolist() == golden[step]
        assert ahead.state()["step"] == step + 1
    ahead.close()


def test_resuming_from_a_prefetched_position_skips_and_repeats_nothing():
    golden = [b["x"].tolist() for b in islice(stream(), 30)]
    first = Prefetch(stream(), depth=7)
    head = [b["x"].tolist() for b in islice(first, 11)]
    state = first.state()
    # The same object goes on where its consumer stopped, although its thread had run ahead.
    assert [b["x"].tolist() for b in islice(first, 3)] == golden[11:14]
    second = Prefetch(stream())
    second.restore(state)
    assert head + [b["x"].tolist() for b in islice(second, 19)] == golden


def test_an_error_surfaces_after_the_good_batches_with_the_name_of_its_example():
    ahead = Prefetch(stream(corrupt=10), depth=8)
    iterator = iter(ahead)
    for step in range(3):
        assert next(iterator)["x"].tolist() == [3 * step, 3 * step + 1, 3 * step + 2]
    time.sleep(0.05)
    with pytest.raises(InputError, match="not a letter") as caught:
        next(iterator)
    assert any("example 10" in note for note in caught.value.__notes__)
    assert ahead.state()["step"] == 3


def wait_until_still(slow):
    before = -1
    while before != slow.read:
        before = slow.read
        time.sleep(0.05)


def test_the_byte_budget_bounds_what_is_held():
    array = np.zeros(1000, np.uint8)
    slow = Slow(50, array)
    iterator = iter(Prefetch(slow, depth=100, byte_budget=3500))
    next(iterator)
    wait_until_still(slow)
    # One handed out, three held, one in the thread's hands.
    assert slow.read == 5
    iterator.close()


def test_a_batch_beyond_the_budget_passes_alone_and_is_announced(caplog):
    slow = Slow(5, np.zeros(1000, np.uint8))
    ahead = Prefetch(slow, byte_budget=10)
    assert len(list(ahead)) == 5
    assert sum("exceeds the prefetch budget" in r.message for r in caplog.records) == 1


def test_waiting_for_data_is_reported():
    ahead = Prefetch(Slow(4, np.zeros(1), delay=0.03))
    assert len(list(ahead)) == 4
    assert ahead.report.batches == 4
    assert ahead.report.wait_s > 0.09


def test_abandoning_the_iteration_ends_the_thread():
    before = threading.active_count()
    iterator = iter(Prefetch(stream()))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before


def test_streams_compose():
    def build():
        parts = {name: Prefetch(Batches(Letters(), stack, buckets=2, seed=0, name=name))
                 for name in "ab"}  # fmt: skip
        return Mixture(parts, {"a": 2, "b": 1}, seed=1)

    golden = [b["x"].tolist() for b in islice(build(), 20)]
    outer = Prefetch(build())
    head = [b["x"].tolist() for b in islice(outer, 8)]
    again = Prefetch(build())
    again.restore(outer.state())
    assert head + [b["x"].tolist() for b in islice(again, 12)] == golden


@pytest.mark.parametrize("workers", [1, 2])
def test_mindspore_dataset_serves_the_same_batches_in_the_same_order(workers):
    golden = list(islice(stream(), 25))
    served = MindSporeBatches(stream(), workers=workers, window=8)
    head = list(islice(served, 10))
    assert served.state()["step"] == 10
    again = MindSporeBatches(stream(), workers=workers, window=8)
    again.restore(served.state())
    for a, b in zip(golden, head + list(islice(again, 15)), strict=True):
        assert list(a) == list(b)
        assert all(a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k]) for k in a)


SPAWN_SOURCE = """
import numpy as np
from scimind.data import Batches

class Letters:
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return index

def stack(items, bucket):
    return {"x": np.array(items, np.int32), "mask": np.array(items) > 3}

def stream():
    return Batches(Letters(), stack, buckets=3, seed=0)
"""

SPAWN_MAIN = """
from itertools import islice
import numpy as np
from letters import stream
from scimind.data import MindSporeBatches

if __name__ == "__main__":
    served = MindSporeBatches(stream(), workers=2, processes=True, window=16)
    for a, b in zip(islice(stream(), 12), served):
        assert all(np.array_equal(a[k], b[k]) for k in a)
    print("equal")
"""


@pytest.mark.slow
def test_mindspore_dataset_serves_the_same_batches_from_spawned_processes(tmp_path):
    (tmp_path / "letters.py").write_text(SPAWN_SOURCE)
    (tmp_path / "main.py").write_text(SPAWN_MAIN)
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "equal", done.stderr


def test_an_error_inside_mindspore_dataset_is_not_swallowed():
    with pytest.raises(RuntimeError, match="not a letter"):
        list(islice(MindSporeBatches(stream(corrupt=10), window=8), 8))
