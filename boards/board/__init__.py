"""What a board is, its device, and the top that is built for it. Door: board.py."""
