"""The accelerator behind a UART, and its frames. Door: link.py, protocol.py."""
