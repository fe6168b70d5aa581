"""A verilated accelerator in cocotb: its top, its compilation, its runs. Door: build.py, run.py."""
