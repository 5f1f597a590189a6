"""What several processes of one training have in common: sums, buffers, and when to stop."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from napari_fundus.errors import Cancelled

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch import Tensor, nn

_LONGEST_PAUSE = timedelta(days=30)
"""How long the others wait for a first process that a person has paused."""


class DistributedContext:
    """The processes of a run, of which each calls the same methods in the same order.

    Whatever depends on a clock or on a person is decided here for all at once: a process that
    stopped alone would leave the others waiting for its gradients.

    Parameters
    ----------
    fabric
        Launched; one process is the ordinary case, in which nothing is exchanged.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.count = int(fabric.global_rank), int(fabric.world_size)
        self._elapsed = 0.0
        self._group: Any = None
        if self.count > 1:
            from torch import distributed

            # On the CPU, so that no step waits for what its GPU still has to do.
            self._group = distributed.new_group(backend="gloo", timeout=_LONGEST_PAUSE)

    @property
    def elapsed(self) -> float:
        """The seconds of the run that were agreed on last."""
        return self._elapsed

    def synchronize(self, *, cancelled: bool, elapsed: float) -> None:
        """Take the first process's time, and raise `Cancelled` in all if one was asked to stop.

        Parameters
        ----------
        cancelled
            Whether this process was.
        elapsed
            Its seconds of the run.
        """
        if self.count > 1:
            import torch
            from torch import distributed

            # The others do not know of pauses.
            time = elapsed if self.rank == 0 else 0.0
            words = torch.tensor([float(cancelled), time], dtype=torch.float64)
            distributed.all_reduce(words, distributed.ReduceOp.MAX, group=self._group)
            cancelled, elapsed = bool(words[0]), float(words[1])
        self._elapsed = elapsed
        if cancelled:
            raise Cancelled("Cancelled.")

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a scalar over the processes; the device is not waited for."""
        if self.count == 1:
            return value
        from torch import distributed

        total = value.clone()
        distributed.all_reduce(total)
        return total / self.count

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Give all processes the first one's buffers, such as the averages of batch norm.

        Each has gathered those of its own batches, and the first one's are saved.
        """
        if self.count == 1:
            return
        from torch import distributed

        for buffer in network.buffers():
            distributed.broadcast(buffer, 0)


def all_reduce_sums(sums: dict[str, float], processes: int) -> dict[str, float]:
    """Return the sums over all processes; a name that some do not have counts as 0 there."""
    if processes == 1:
        return sums
    from torch import distributed

    parts: list[dict[str, float]] = [{}] * processes
    distributed.all_gather_object(parts, sums)
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
