"""What is proven of the blocks by `make prove`, planted faults that `make mutate` noticed, cases of `make soak`."""

from typing import Any

from docs import records
from docs.tables.markdown import count, measured, table
from popstream.soak.report import seen

__all__ = ["code_survivors", "proofs", "soak", "survivors"]


def proofs() -> str:
    """Every proof of the last complete run."""
    found = records.load("prove")
    rows = [
        [
            ", ".join(part for part in (f"`{row['block']}`", row["what"]) if part), row["properties"], row["method"],
            count(row["depth"]), row["status"], count(row["seconds"], 1),
        ]
        for record in found for row in record["result"]["rows"]
    ]  # fmt: skip
    columns = ("block", "properties", "method", "cycles>", "result", "seconds>")
    return table(columns, rows) + "\n\n" + measured(found)


def survivors() -> str:
    """How many faults in the netlist were noticed, and what the others are."""
    found = records.load("mutate")
    if not found:
        return "*Not measured yet.*"
    lines = []
    for record in found:
        result = record["result"]
        first, *later = result["by_step"]
        lines.append([
            f"`{result['network']}`", count(result["mutants"]), count(first), count(sum(later)), count(result["hung"]),
            count(len(result["survivors"])), f"{100 * result['noticed'] / result['mutants']:.1f}\u00a0%",
        ])  # fmt: skip
    columns = ("network", "faults>", "on two images>", "on more, with pauses>", "of them as a hang>", "survivors>")
    rows = [[f"`{row['mutant']}`", f"{row['slower']} times" if row["slower"] else "the same", row.get("why", "")]
            for record in found for row in record["result"]["survivors"]]  # fmt: skip
    told = table(("survivor", "cycles an image>", "why"), rows)
    return f"{table((*columns, 'noticed>'), lines)}\n\n{told}\n\n{measured(found)}"


EQUIVALENT = "equivalent"  # how the reason begins where a fault changes nothing that can be seen


def code_survivors() -> str:
    """How many faults in popstream's Python were noticed, by file, and what the others are."""
    found = records.load("mutate-code")
    if not found:
        return "*Not measured yet.*"
    told = [row for record in found for row in record["result"]["survivors"]]
    lines = [
        code_line(f"`{row['file']}`", row, [r for r in record["result"]["survivors"] if r["file"] == row["file"]])
        for record in found for row in record["result"]["files"]
    ]  # fmt: skip
    names = ("planted", "test", "time", "memory", "sim")
    total = {name: sum(row[name] for record in found for row in record["result"]["files"]) for name in names}
    columns = ("file", "planted>", "noticed>", "by time or memory>", "by `make sim`>", "equivalent>", "survivors>")
    rows = [[f"`{r['file']}:{r['line']}`", code(r["before"]), code(r["after"]), r.get("why", "")] for r in told]
    both = [table((*columns, "noticed, of the others>"), [*lines, code_line("**all**", total, told)])]
    if rows:
        both.append(table(("survivor", "line", "with the fault", "why"), rows))
    return "\n\n".join([*both, measured(found)])


def code_line(name: str, row: dict[str, Any], survivors: list[dict[str, Any]]) -> list[str]:
    """A file's row: its counts, of which those of equivalent faults are known by their reason."""
    equivalent = sum(r.get("why", "").startswith(EQUIVALENT) for r in survivors)
    others = row["planted"] - equivalent
    noticed = row["planted"] - len(survivors)
    return [
        name, count(row["planted"]), count(noticed), count(row["time"] + row["memory"]), count(row["sim"]),
        count(equivalent), count(len(survivors) - equivalent),
        f"{100 * noticed / others:.1f}\u00a0%" if others else "-",
    ]  # fmt: skip


def code(line: str) -> str:
    """A line of code within a table."""
    return f"`{line}`".replace("|", "\\|")


def fuzz() -> str:
    """What hostile input was given to each reader, and how many findings were left."""
    found = records.load("fuzz")
    if not found:
        return "*Not measured yet.*"
    rows = [
        [
            row["target"], row["text"], *(count(row[name]) for name in ("inputs", "taken", "edges")),
            *(f"{row[name]:.1f}" for name in ("minutes", "core_minutes")), count(row["peak_mib"]), count(row["found"]),
        ]
        for record in found for row in record["result"]["targets"]
    ]  # fmt: skip
    columns = "reader", "of", "inputs>", "taken>", "branches>", "minutes>", "of a core>", "most MiB>", "found>"
    return table(columns, rows) + "\n\n" + measured(found)


def soak() -> str:
    """Random cases of each kind, and how many were not as they must be."""
    found = records.load("soak")
    rows = [
        [
            row["kind"], count(record["result"]["seed"]), count(row["units"]), count(row["failed"]),
            count(row["minutes"]), seen(row["counts"], row["kind"]),
        ]
        for record in found for row in record["result"]["kinds"]
    ]  # fmt: skip
    columns = ("kind", "seed>", "done>", "failed>", "minutes of a process>", "of them, or in them")
    return table(columns, rows) + "\n\n" + measured(found)
