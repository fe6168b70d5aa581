"""How many lanes each layer gets, what that takes in cycles, and how deep FIFOs are. Door: folding.py."""
