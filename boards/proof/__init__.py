"""Formal proofs that every block with streams keeps the contract. Door: proving.py; what is proven: table.py."""
