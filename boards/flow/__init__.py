"""From a board and a network to a bitstream on the board. Door: build.py."""
