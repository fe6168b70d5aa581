"""Which folding of a network a board holds. Door: capacity.py."""
