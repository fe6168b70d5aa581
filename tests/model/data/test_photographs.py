"""Photographs where a data set cannot be had: their sizes, that they stay the same, and that each is another."""

import numpy as np
import pytest

from popstream.model.data.photographs import photographs


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (4, 5, 9), (3, 224, 224), (3, 600, 20)])
def test_any_size_can_be_had(shape):
    images = photographs(3, *shape)
    assert images.shape == (3, *shape)
    assert images.dtype == np.uint8
    assert all(image.std() > 5 for image in images)


def test_an_image_is_the_same_in_every_call_and_unlike_the_others():
    images = photographs(40, 3, 32, 32)
    np.testing.assert_array_equal(photographs(7, 3, 32, 32), images[:7])
    assert len({image.tobytes() for image in images}) == 40
    flower = images[1::2].mean((0, 2, 3))
    assert flower[0] > flower[2] + 10  # red first
