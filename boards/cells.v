// The vendor cells in a board's top, for simulation: pins are wires, and so is a PLL, which is locked from the start.

module IB (input I, output O);
  assign O = I;
endmodule

module OBZ (input I, input T, output O);
  assign O = I;
endmodule

module EHXPLLL (
  input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
  output CLKOP, LOCK
);
  parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "", OUTDIVIDER_MUXA = "";
  parameter CLKOP_ENABLE = "", FEEDBK_PATH = "";
  parameter CLKOP_CPHASE = 0, CLKOP_FPHASE = 0, CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1;
  assign CLKOP = CLKI;
  assign LOCK = 1;
endmodule

module SGSR (input CLK, GSR);  // never asserted: a simulation starts with every register at its initial value
endmodule

module SB_IO (
  inout PACKAGE_PIN, input D_OUT_0, D_OUT_1, OUTPUT_ENABLE, CLOCK_ENABLE, INPUT_CLK, OUTPUT_CLK, LATCH_INPUT_VALUE,
  output D_IN_0, D_IN_1
);
  parameter [5:0] PIN_TYPE = 0;  // bits 5 to 2 are 0 where there is no output
  parameter IO_STANDARD = "";
  parameter PULLUP = 0, NEG_TRIGGER = 0;
  generate
    if (PIN_TYPE[5:2] != 0) assign PACKAGE_PIN = D_OUT_0;
  endgenerate
  assign D_IN_0 = PACKAGE_PIN;
endmodule

module SB_PLL40_CORE (input REFERENCECLK, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  parameter FEEDBACK_PATH = "";
  parameter DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
  assign PLLOUTGLOBAL = REFERENCECLK;
  assign LOCK = 1;
endmodule

module SB_PLL40_PAD (input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  parameter FEEDBACK_PATH = "";
  parameter DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
  assign PLLOUTGLOBAL = PACKAGEPIN;
  assign LOCK = 1;
endmodule

// Gowin and Xilinx.

module IBUF (input I, output O);
  assign O = I;
endmodule

module TBUF (input I, OEN, output O);
  assign O = I;
endmodule

module rPLL (
  input CLKIN, CLKFB, RESET, RESET_P, input [5:0] FBDSEL, IDSEL, ODSEL, input [3:0] PSDA, DUTYDA, FDLY,
  output CLKOUT, LOCK
);
  parameter FCLKIN = "", DEVICE = "";
  parameter IDIV_SEL = 0, FBDIV_SEL = 0, ODIV_SEL = 2;
  assign CLKOUT = CLKIN;
  assign LOCK = 1;
endmodule

module OBUFT (input I, T, output O);
  assign O = I;
endmodule

module BUFG (input I, output O);
  assign O = I;
endmodule

module PLLE2_BASE (input CLKIN1, CLKFBIN, RST, PWRDWN, output CLKFBOUT, CLKOUT0, LOCKED);
  parameter CLKIN1_PERIOD = 0.0;
  parameter DIVCLK_DIVIDE = 1, CLKFBOUT_MULT = 2, CLKOUT0_DIVIDE = 1;
  assign CLKFBOUT = CLKIN1;
  assign CLKOUT0 = CLKIN1;
  assign LOCKED = 1;
endmodule
