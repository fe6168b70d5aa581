"""The program that talks to a board. Door: host.py."""
