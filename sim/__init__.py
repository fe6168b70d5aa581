"""The golden model, the bench under Verilator, and the comparison of both. Door: golden, rtl.py."""
