"""What a folding takes of a device, estimated block by block. Door: network.py."""
