"""Another network in an existing bitstream, without place and route. Door: reload.py."""
