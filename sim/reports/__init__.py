"""Measurements of simulated accelerators: occupancy, bits, sweeps, steady state; with plots."""
