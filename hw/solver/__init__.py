"""The cheapest folding for a number of cycles, the fastest for a budget. Door: solve.py."""
