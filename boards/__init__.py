"""Boards, the host link and its program, bitstreams. Door: known, flow/build.py, host/host.py."""
