"""Hostile bytes, guided by coverage, into all that reads what others made. Door: campaign.py; target.py has readers."""
