"""Joining the other workers of the job, and leaving together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scimind.errors import EnvironmentProblem
from scimind.parallel.ranks import rank, world


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the workers' group for the duration of a run; does nothing in a job of one process.

    Set the device before: HCCL serves Ascend, MindSpore's own backend the CPU. Leaving waits for
    all ranks, since a rank that ends while another still communicates makes that one fail. After an
    exception nobody waits: the launcher ends the job.

    Raises:
        EnvironmentProblem: The group does not form.
    """
    if world() == 1:
        yield
        return
    from mindspore.communication import get_group_size, get_rank, init

    from scimind.parallel.collectives import barrier

    try:
        init()
    except (RuntimeError, ValueError) as error:
        raise EnvironmentProblem(
            f"worker {rank()} of {world()} could not join the others: {error}; see the other "
            "workers' logs for one that ended early"
        ) from error
    if (get_rank(), get_group_size()) != (rank(), world()):
        raise EnvironmentProblem(
            f"MindSpore calls this rank {get_rank()} of {get_group_size()}, the environment rank "
            f"{rank()} of {world()}; start workers with python -m scimind.parallel.launch"
        )
    yield
    barrier()
