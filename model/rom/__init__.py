"""The ROM image of a manifest: all that was trained, in the hardware's order. Door: image.py."""
