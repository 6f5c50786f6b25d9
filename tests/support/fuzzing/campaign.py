"""A fuzz campaign: mutants of real files, read in a bounded worker, every outcome counted."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing import worker
from fuzzing.mutate import mutate

WALL_SECONDS = 180.0  # a shared machine may give a tenth of a core; CPU time is what is judged
ACCEPTED = ("read", "refused")


@dataclass
class Outcome:
    """What a campaign saw.

    Attributes:
        counts: Mutants by outcome: read, refused, and the faults.
        rules: Refusals (of files and of records) by rule.
        faults: Description of every fault, with the mutant's index and edits.
        damaged: Mutants that differ from their original.
    """

    counts: Counter = field(default_factory=Counter)
    rules: Counter = field(default_factory=Counter)
    faults: list[dict] = field(default_factory=list)
    damaged: int = 0

    def summary(self) -> dict:
        return {
            "mutants": sum(self.counts.values()),
            "damaged": self.damaged,
            "outcomes": dict(sorted(self.counts.items())),
            "rules": dict(self.rules.most_common()),
            "faults": self.faults,
        }


class Reader:
    """The worker process, started again after it died."""

    def __init__(self, check: str, warm_up: Path) -> None:
        self.check, self.warm_up = check, warm_up
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _start(self) -> None:
        support = str(Path(__file__).parents[1])
        environment = dict(
            os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONPATH=support
        )
        self.process = subprocess.Popen(
            [sys.executable, worker.__file__, self.check, str(self.warm_up)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        ready = self._answer()
        if "ready" not in ready:
            raise RuntimeError(f"the fuzz worker did not start: {ready}; run it by hand")

    def _answer(self) -> dict:
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(WALL_SECONDS):
                self.stop()
                return {"outcome": "hang", "detail": f"no answer in {WALL_SECONDS} s of wall time"}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.stop()
        if code == -signal.SIGPROF:
            return {"outcome": "hang", "detail": f"more than {worker.SECONDS} s of CPU time"}
        return {"outcome": "crash", "detail": f"the process ended with {code}"}

    def verdict(self, path: Path) -> dict:
        if self.process is None:
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()


def run_campaign(
    check: str, originals: Sequence[Path], count: int, folder: Path, *, seed: int = 0
) -> Outcome:
    """Reads ``count`` mutants of the originals.

    Args:
        check: ``"file.py:function"``; ``function(path)`` returns a verdict as in ``verdicts``.
        originals: Real files, taken in turn.
        count: Number of mutants.
        folder: Where mutants are written; those that show a fault stay there.
        seed: Seed of the mutations.
    """
    outcome = Outcome()
    contents = [path.read_bytes() for path in originals]
    with Reader(check, originals[0]) as reader:
        for index in range(count):
            which = index % len(originals)
            data, edits = mutate(contents[which], seed, index)
            outcome.damaged += data != contents[which]
            # A new name each time: a reader that caches by path would hide faults.
            path = folder / f"mutant-{index}{''.join(originals[which].suffixes[-1:])}"
            path.write_bytes(data)
            verdict = reader.verdict(path)
            outcome.counts[verdict["outcome"]] += 1
            outcome.rules.update(verdict.get("rules", {}))
            if verdict["outcome"] in ACCEPTED:
                path.unlink()
            else:
                about = {"mutant": index, "original": originals[which].name, "edits": list(edits)}
                verdict.pop("rules", None)
                outcome.faults.append({**about, **verdict})
    return outcome
