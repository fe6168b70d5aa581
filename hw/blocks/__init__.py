"""The other blocks of a stage: window, threshold, requantizer, PReLU, shortcut, max-pooling, head."""
