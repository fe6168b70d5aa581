"""Yosys on a design: mapped cells counted, the cost model compared, the unit by itself. Door: yosys.py."""
