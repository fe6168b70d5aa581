"""Mutation: faults planted in popstream's own Python, which its tests must notice. Door: campaign.py."""
