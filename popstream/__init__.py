"""popstream: low-bit ResNets as streaming bit-serial popcount accelerators; four rooms: model, hw, sim, boards."""
