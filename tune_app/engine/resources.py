"""The resources that one trial takes on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ray import tune


@dataclass(frozen=True, slots=True)
class TrialResources:
    """`processes` processes on one node, each with `cpu` CPUs and `gpu` GPUs."""

    cpu: float
    gpu: float
    processes: int = 1

    def __str__(self) -> str:
        each = f"{self.cpu:g} CPUs" + (f" and {self.gpu:g} GPUs" if self.gpu else "")
        return each if self.processes == 1 else f"{self.processes} processes of {each} each"

    def placement(self) -> tune.PlacementGroupFactory:
        """A placement group with one bundle for each process, all on one node."""
        bundle = {"CPU": self.cpu, "GPU": self.gpu}
        return tune.PlacementGroupFactory([bundle] * self.processes, strategy="STRICT_PACK")

    def fit(self, node: Mapping[str, float]) -> int:
        """How many trials a node with these resources has room for."""
        cpus = int(node.get("CPU", 0) / (self.cpu * self.processes) + 1e-9)
        if self.gpu == 0:
            return cpus
        whole = node.get("GPU", 0)
        # A fraction must fit into one GPU: three trials of 0.4 do not share 1.2 of two.
        gpus = (
            int(whole / self.gpu + 1e-9) if self.gpu >= 1 else int(whole) * int(1 / self.gpu + 1e-9)
        )
        return min(cpus, gpus // self.processes)
