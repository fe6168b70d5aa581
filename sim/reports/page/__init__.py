"""One HTML page of all that is known of a network: what was measured, drawn by us. Door: page.py."""
