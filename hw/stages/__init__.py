"""Blocks made from a network's nodes, for the accelerator and for its cost alike. Door: stages.py."""
