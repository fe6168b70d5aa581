"""A trained network as integers, those in torch, and back again. Door: export.py, freeze.py, frozen.py."""
