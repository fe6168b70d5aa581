"""Many trainings as one list: specification, runs, tables. Door: sweep.py."""
