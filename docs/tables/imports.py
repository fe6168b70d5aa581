"""QONNX files that were taken in, and how many of their codes were compared with their own executor's."""

from typing import Any

from docs import records
from docs.tables.markdown import count, measured, table

__all__ = ["brevitas", "imports"]


def imports() -> str:
    """Every file that `popstream import` took."""
    found = records.load("import")
    columns = ("file", "quantizers>", "images>", "codes and logits>", "of them halfway>", "differ>", "logits>")
    rows = [
        [
            " ".join(f"`{part}`" for part in (row["file"], row["options"]) if part), *compared(row, "quantizers"),
            "equal" if not row["off"] else f"within {row['off']:.2g} steps",
        ]
        for row in (record["result"] for record in found)
    ]  # fmt: skip
    return f"{table(columns, rows)}\n\n{measured(found)}"


def compared(row: dict[str, Any], *first: str) -> list[str]:
    return [count(row[key]) for key in (*first, "images", "values", "halves", "mismatches")]


def brevitas() -> str:
    """Small residual networks of Brevitas, by the bits of their weights."""
    found = records.load("brevitas")
    rows = []
    for record in found:
        result = record["result"]
        for bits in dict.fromkeys(network["weight_bits"] for network in result["networks"]):
            own = [network for network in result["networks"] if network["weight_bits"] == bits]
            codes = ", ".join(str(n) for n in sorted({network["act_bits"] for network in own}))
            kinds = [sum(bool(network.get(key)) for network in own) for key in ("separate", "powers_of_two", "dynamo")]
            sums = {key: sum(n[key] for n in own) for key in ("quantizers", "values", "halves", "mismatches")}
            counts = compared(sums | {"images": result["images"]}, "quantizers")
            rtl = count(sum(network["rtl_values"] for network in own))
            rows.append([str(bits), codes, count(len(own)), *(count(kind) for kind in kinds), *counts, rtl])
    columns = (
        "weight bits>", "code bits", "networks>", "separate scales>", "powers of two>", "by dynamo>", "quantizers>",
        "images>", "codes and logits>", "of them halfway>", "differ>", "values in RTL, all equal>",
    )  # fmt: skip
    return f"{table(columns, rows)}\n\n{measured(found)}"
