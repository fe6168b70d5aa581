"""Images where a data set cannot be had: pieces of the two photographs that come with scikit-learn.

They have no labels, so they tell nothing of accuracy. They are real images, on which hardware and software can be
compared bit for bit: image n is the same at every call, a piece of china.jpg for even n and of flower.jpg for odd.
"""

import numpy as np

__all__ = ["photographs"]

SEED = 0


def photographs(count: int, channels: int, height: int, width: int) -> np.ndarray:
    """uint8 [count, channels, height, width]: pieces of any size and place, brought to `height` x `width`.

    3 channels are red, green and blue; 1 is grey; other numbers repeat the three colours.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    images = np.empty((count, channels, height, width), np.uint8)
    for index in range(count):
        source = sources[index % len(sources)]
        rng = np.random.default_rng([SEED, index])
        largest = min(source.width / width, source.height / height)  # times the size wanted
        scale = largest ** rng.uniform() if largest > 1 else largest
        piece = width * scale, height * scale
        left, top = rng.uniform() * (source.width - piece[0]), rng.uniform() * (source.height - piece[1])
        box = (left, top, min(left + piece[0], source.width), min(top + piece[1], source.height))
        wanted = source.convert("L") if channels == 1 else source
        small = np.asarray(wanted.resize((width, height), Image.Resampling.BILINEAR, box))
        images[index] = np.atleast_3d(small)[..., np.arange(channels) % 3].transpose(2, 0, 1)
    return images
