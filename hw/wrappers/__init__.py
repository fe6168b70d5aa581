"""What joins an accelerator to somebody's own design: AXI-Stream, Wishbone registers. Door: wrapper.py."""
