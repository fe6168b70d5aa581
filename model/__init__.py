"""From data to the manifest: networks, quantizers, training, freezing. Door: manifest."""
