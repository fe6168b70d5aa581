"""PLLs: dividers solved, and each vendor's primitive. Door: pll.py, others.py."""
