"""Random tensors and quantizers for the tests of quantizers."""

import torch

from popstream.model.quantizers import Scheduled

SHAPE = (6, 5, 3, 3)


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shaken(module, seed=5):
    """The module with parameters as training might leave them: moved, of both signs where they may be."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data += 0.4 * torch.randn(p.shape, generator=generator)
    if isinstance(module, Scheduled):
        module.set_progress(0.7)
    return module
