"""The tables of the pages, by the name that stands in their marks. Door: TABLES."""

from collections.abc import Callable

from docs.tables import accuracy, hardware, imports, proofs, rules, training

__all__ = ["TABLES"]

TABLES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy.beside_published,
    "agreement": accuracy.agreement,
    "bits": hardware.bits,
    "bitstreams-digits": lambda: hardware.bitstreams("digits-w1a2"),
    "bitstreams-resnet20": lambda: hardware.bitstreams("resnet20-w1a2"),
    "brevitas": imports.brevitas,
    "code-survivors": proofs.code_survivors,
    "cost": hardware.cost,
    "cycles": accuracy.cycles,
    "fuzz": proofs.fuzz,
    "grids": training.grids,
    "imports": imports.imports,
    "models": accuracy.models,
    "netlists": accuracy.netlists,
    "overhead": hardware.overhead,
    "proofs": proofs.proofs,
    "rules": rules.rules,
    "sim-output": accuracy.sim_output,
    "soak": proofs.soak,
    "speed": training.speed,
    "survivors": proofs.survivors,
    "throughput": hardware.throughput,
    "throughput-full": hardware.throughput_full,
    "times": training.times,
    "trials": training.trials,
    "unit": hardware.unit,
    "zoo": accuracy.zoo_table,
}
"""Markdown without a line end; none of them types a figure."""
