"""Pieces that know nothing of networks: streams, FIFOs, memories, adders, multipliers, carry chains."""
