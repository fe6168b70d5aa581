"""Soak: random cases of every kind, until the hours are over. Door: campaign.py; a file for each kind of case."""
