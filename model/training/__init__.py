"""Recipes and the loop that trains by them. Door: recipe.py, train.py."""
