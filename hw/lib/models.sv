// Models of hw/lib/models.py: what a simulator runs in the place of the blocks that take most of its time.

// o = sum over m < PLANES of 2^m * popcount(i[m]), or of i and j[m] joined by GATE (1: XOR, 2: AND), LATENCY cycles
// later. Its registers are those of the last level of adders: a reset makes all of them 0, as it does all levels.
module popcount_model #(parameter N = 1, PLANES = 1, GATE = 0, LATENCY = 1, IN = 1, OUT = 1) (
  input clk, input rst, input [IN-1:0] i, input [N*PLANES-1:0] j, output [OUT-1:0] o
);
  genvar m;
  generate
    for (m = 0; m < PLANES; m = m + 1) begin : plane
      wire [N-1:0] bits;
      wire [OUT-1:0] sum;
      if (GATE == 1) assign bits = i ^ j[m*N +: N];
      else if (GATE == 2) assign bits = i & j[m*N +: N];
      else assign bits = i[m*N +: N];
      if (m == 0) assign sum = OUT'($countones(bits));
      else assign sum = plane[m-1].sum + (OUT'($countones(bits)) << m);
    end
    for (m = 0; m < LATENCY; m = m + 1) begin : stage
      reg [OUT-1:0] sum = 0;
      if (m == 0) always @(posedge clk) sum <= rst ? OUT'(0) : plane[PLANES-1].sum;
      else always @(posedge clk) sum <= rst ? OUT'(0) : stage[m-1].sum;
    end
    if (LATENCY == 0) assign o = plane[PLANES-1].sum;
    else assign o = stage[LATENCY-1].sum;
  endgenerate
endmodule

// o[m*N + k] = i[k*BITS + m]: N codes plane by plane, for BITS of 2, 4 or 8. In words of 64 bits, each step of which
// brings neighbouring groups of bits together, as in a perfect shuffle.
module planes_model #(parameter N = 1, BITS = 2) (input [N*BITS-1:0] i, output [N*BITS-1:0] o);
  localparam WORDS = (N * BITS + 63) / 64, EACH = 64 / BITS;
  wire [64*WORDS-1:0] padded = (64*WORDS)'(i);
  genvar m, w, s;
  generate
    for (m = 0; m < BITS; m = m + 1) begin : plane
      wire [EACH*WORDS-1:0] bits;
      for (w = 0; w < WORDS; w = w + 1) begin : word
        for (s = 0; (1 << s) <= EACH; s = s + 1) begin : step  // groups of GROUP bits, GROUP * BITS from one to the next
          localparam GROUP = 1 << s;
          localparam [63:0] MASK = {(EACH / GROUP){{(GROUP * (BITS - 1)){1'b0}}, {GROUP{1'b1}}}};
          wire [63:0] x;
          if (s == 0) assign x = (padded[64*w +: 64] >> m) & MASK;
          else assign x = (step[s-1].x | step[s-1].x >> (GROUP / 2 * (BITS - 1))) & MASK;
          if (GROUP == EACH) assign bits[EACH*w +: EACH] = x[EACH-1:0];
        end
      end
      assign o[m*N +: N] = bits[N-1:0];
    end
  endgenerate
endmodule
