"""A small module with an accelerator's ports, hand-written, to test the bench without one.

Logit k is the sum over all pixels of (k + 1) * channel (k mod C), less 100 k; the label is the argmax. Tap "sums" is
a beat for each pixel of lane sums (signed), tap "wide" repeats the pixel in many lanes. It holds one result, so it
stalls its input while that is not taken. Three pixels make it fail on purpose: STUCK stops it forever, TWICE makes it
give its result twice, ENDLESS stops its input and gives results without end.
"""

from pathlib import Path

import numpy as np

from popstream.sim.bench.top import Tap, Top

CHANNELS, HEIGHT, WIDTH, BITS, CLASSES, REPEAT = 3, 4, 6, 5, 4, 7
PIXELS = HEIGHT * WIDTH
OFFSET = 20
STUCK, TWICE, ENDLESS = (31, 31, 31), (31, 31, 30), (31, 31, 29)


def top() -> Top:
    """The ports; "wide" has 7 repeats of 3 channels of 5 bits = 105 bits a beat, and a correction."""
    shape = (REPEAT * CHANNELS, HEIGHT, WIDTH)
    correction = np.arange(REPEAT * CHANNELS, dtype=np.int64)
    taps = (
        Tap("sum.s", 1, 9, True, (1, HEIGHT, WIDTH)),
        Tap("wide", REPEAT * CHANNELS, BITS, False, shape, correction),
    )
    return Top((CHANNELS, HEIGHT, WIDTH), BITS, CLASSES, taps)


def write(folder: Path, forgetful: bool = False) -> Path:
    """top.v in `folder`; a reset of a `forgetful` one leaves the sums as they are."""
    logits = "\n".join(
        f"  wire signed [31:0] term{k} = {k + 1} * c{k % CHANNELS}; reg signed [31:0] sum{k} = {-100 * k};"
        for k in range(CLASSES)
    )
    update = "\n".join(
        f"        sum{k} <= last ? {-100 * k} : sum{k} + term{k};\n        if (last) logit{k} <= sum{k} + term{k};"
        for k in range(CLASSES)
    )
    cleared = " ".join(f"sum{k} <= {-100 * k};" for k in range(CLASSES) if not forgetful)
    best = "0"
    for k in range(1, CLASSES):
        greater = " && ".join(f"logit{k} > logit{j}" for j in range(k))
        at_least = " && ".join(f"logit{k} >= logit{j}" for j in range(k + 1, CLASSES)) or "1"
        best = f"({greater} && {at_least}) ? {k} : ({best})"
    text = f"""
module top(input clk, input rst, input [{CHANNELS * BITS - 1}:0] i__payload, input i__valid, output i__ready,
    output [{8 + 32 * CLASSES - 1}:0] o__payload, output o__valid, input o__ready,
    output tap_sum_s_valid, output [8:0] tap_sum_s_data,
    output tap_wide_valid, output [{REPEAT * CHANNELS * BITS - 1}:0] tap_wide_data);
  wire [31:0] {", ".join(f"c{c}" for c in range(CHANNELS))};
  {" ".join(f"assign c{c} = i__payload[{c * BITS} +: {BITS}];" for c in range(CHANNELS))}
{logits}
  reg signed [31:0] {", ".join(f"logit{k} = 0" for k in range(CLASSES))};
  reg [31:0] pixel = 0;
  reg full = 0, again = 0;
  wire last = pixel == {PIXELS - 1};
  wire stuck = i__valid && c0 == {STUCK[0]} && c1 == {STUCK[1]} && c2 == {STUCK[2]};
  wire twice = c0 == {TWICE[0]} && c1 == {TWICE[1]} && c2 == {TWICE[2]};
  wire endless = i__valid && c0 == {ENDLESS[0]} && c1 == {ENDLESS[1]} && c2 == {ENDLESS[2]};
  assign i__ready = !stuck && !endless && !(last && full && !o__ready);
  wire [7:0] label = {best};
  assign o__payload = {{{", ".join(f"logit{k}" for k in reversed(range(CLASSES)))}, label}};
  assign o__valid = full || endless;
  assign tap_sum_s_valid = i__valid && i__ready;
  wire [31:0] sum = c0 + c1 + c2 - {OFFSET};
  assign tap_sum_s_data = sum[8:0];
  assign tap_wide_valid = i__valid && i__ready;
  assign tap_wide_data = {{{REPEAT}{{i__payload}}}};
  always @(posedge clk)
    if (rst) begin
      pixel <= 0; full <= 0; again <= 0; {cleared}
    end else begin
      if (full && o__ready) begin full <= again; again <= 0; end
      if (i__valid && i__ready) begin
        pixel <= last ? 0 : pixel + 1;
        if (last) begin full <= 1; again <= twice; end
{update}
      end
    end
endmodule
"""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "top.v"
    path.write_text(text)
    return path


def random_codes(seed: int, count: int) -> np.ndarray:
    """Codes uint8 [count, C, H, W]."""
    return np.random.default_rng(seed).integers(0, 2**BITS, (count, CHANNELS, HEIGHT, WIDTH), dtype=np.uint8)


def golden(codes: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits int32 [N, O] and taps [N, C, H, W], as the module should give them."""
    totals = codes.astype(np.int64).sum((2, 3))
    logits = np.stack([(k + 1) * totals[:, k % CHANNELS] - 100 * k for k in range(CLASSES)], axis=1)
    wide = np.tile(codes.astype(np.int64), (1, REPEAT, 1, 1)) - np.arange(REPEAT * CHANNELS)[:, None, None]
    return logits.astype(np.int32), {"sum.s": codes.astype(np.int64).sum(1, keepdims=True) - OFFSET, "wide": wide}
