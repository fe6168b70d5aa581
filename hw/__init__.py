"""The accelerator: streaming blocks, their folding and cost, and its Verilog. Door: accelerator.py, verilog.py."""
