"""A network's accelerator in simulation, on which images, and its values compared. Door: rtl.py, compare.py."""
