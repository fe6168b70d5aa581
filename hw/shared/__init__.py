"""Layers that share one compute unit, one after another, with their activations in block RAM. Door: stage.py."""
