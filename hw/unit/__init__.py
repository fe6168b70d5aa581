"""The matrix-vector unit: plan, order of work, weights, bit planes. Door: matvec.py."""
