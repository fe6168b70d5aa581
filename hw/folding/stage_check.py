"""Which sizes a shared stage may have."""

from __future__ import annotations

from popstream.hw.folding.fold import FoldingError, Share
from popstream.hw.folding.layers import Chain

__all__ = ["check_share"]


def check_share(chain: Chain, share: Share, code_bits: int) -> None:
    """FoldingError for a share that no stage of these layers, of codes of so many bits, can have."""
    name = chain.name
    for what in ("slice", "pe", "pixels", "planes", "beat"):
        if type(getattr(share, what)) is not int or getattr(share, what) < 1:
            raise FoldingError(f"Stage of {name!r}: {what} must be at least 1, not {getattr(share, what)!r}")
    if share.pixels & (share.pixels - 1):
        raise FoldingError(f"Stage of {name!r}: pixels must be a power of two, not {share.pixels}")
    if share.pe % share.beat or share.slice % share.beat:
        raise FoldingError(
            f"Stage of {name!r}: beat must divide pe ({share.pe}) and slice ({share.slice}), {share.beat} does not"
        )
    if share.planes > code_bits:
        raise FoldingError(f"Stage of {name!r}: planes must be 1 to {code_bits}, not {share.planes}")
    ends = [("it makes", chain.end.shape[0])]
    if chain.source.kind == "stream":
        ends.append(("come in", chain.source.shape[0]))
    for what, count in ends:
        if count % share.beat:
            raise FoldingError(f"Stage of {name!r}: beat must divide the {count} channels that {what}, "
                               f"{share.beat} does not")  # fmt: skip
    for layer in chain.layers:
        if layer.stride == 2 and share.pixels < 2:
            raise FoldingError(f"Node {layer.value!r}: a stride of 2 takes 2 pixels at least, not 1")
        ahead = layer.skip.pad_front if layer.skip else 0
        if ahead % share.beat:
            raise FoldingError(
                f"Node {layer.value!r}: beat must divide its {ahead} channels ahead of those that are added, "
                f"{share.beat} does not"
            )
