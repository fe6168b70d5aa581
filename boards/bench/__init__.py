"""Boards without a board: tops and netlists in simulation, and the benchmark of a bitstream."""
