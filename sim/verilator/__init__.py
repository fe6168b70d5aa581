"""Verilator: its tools on this machine, and every model compiled once. Door: model.py."""
