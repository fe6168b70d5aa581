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

// Two positions of a carry chain: each has a LUT4, whose first four entries, with A and B alone, give the carry where the
// LUT4 is 0. INJECT1 is "NO" wherever it is used here.
module CCU2C (input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  parameter [15:0] INIT0 = 0, INIT1 = 0;
  parameter INJECT1_0 = "NO", INJECT1_1 = "NO";
  wire p0 = INIT0[{D0, C0, B0, A0}], p1 = INIT1[{D1, C1, B1, A1}];
  wire middle = p0 ? CIN : INIT0[{2'b00, B0, A0}];
  assign S0 = p0 ^ CIN;
  assign S1 = p1 ^ middle;
  assign COUT = p1 ? middle : INIT1[{2'b00, B1, A1}];
endmodule

// A block RAM as a read-only memory of 512 words of 36 bits on port B, with its output register.
module DP16KD (
  input CLKA, CLKB, CEA, CEB, OCEA, OCEB, WEA, WEB, RSTA, RSTB, CSA0, CSA1, CSA2, CSB0, CSB1, CSB2,
  input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
  output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14, DOA15, DOA16, DOA17,
  output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16, DOB17
);
  parameter GSR = "", REGMODE_A = "", REGMODE_B = "", CSDECODE_A = "", CSDECODE_B = "";
  parameter DATA_WIDTH_A = 36, DATA_WIDTH_B = 36;
  parameter [319:0]
            INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
            INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
            INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
            INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
            INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
            INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
            INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
            INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0, INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
  wire [64*320-1:0] contents = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
    INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
    INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
    INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
    INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
    INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
  };
  wire [8:0] word = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5};
  reg [35:0] read = 0, given = 0;
  always @(posedge CLKB) begin
    if (OCEB) given <= read;
    if (CEB) read <= {contents[(2 * word + 1) * 20 +: 18], contents[2 * word * 20 +: 18]};
  end
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = given[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = given[35:18];
endmodule

// A multiplier of two 18-bit numbers, signed as the inputs say, with its registers before and behind it in use.
module MULT18X18D (
  input CLK0, CE0, RST0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
  input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
  input C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
  output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
  output P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
  parameter REG_INPUTA_CLK = "", REG_INPUTA_CE = "", REG_INPUTA_RST = "", REG_INPUTB_CLK = "", REG_INPUTB_CE = "";
  parameter REG_INPUTB_RST = "", REG_OUTPUT_CLK = "", REG_OUTPUT_CE = "", REG_OUTPUT_RST = "", GSR = "";
  reg signed [18:0] a = 0, b = 0;
  reg signed [37:0] product = 0;
  always @(posedge CLK0) if (CE0) begin
    a <= {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    b <= {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    product <= a * b;
  end
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
          P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product[35:0];
endmodule
