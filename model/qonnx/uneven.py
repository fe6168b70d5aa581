"""Additions of two scales of which no small unit is a divisor, by tables: exact for every pair, or not at all.

What reads such a sum is thresholds t[k] on a[i] + b[j], in numbers of many bits; i and j are the levels added. Few bits
do where x[i] + y[j] >= s[k] holds for the same pairs, which for a chosen s is a system of differences: from rounded
values, y rises and x falls (Bellman and Ford's steps) until all of it holds.
"""

import numpy as np

from popstream.model.qonnx.signals import STREAM_BITS

__all__ = ["small_tables"]

MOST = 2 ** (STREAM_BITS - 1) - 1
ROOM = 64  # for x and y to move
SWEEPS = 200
FAR = 2**40


def small_tables(
    a: np.ndarray, b: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """x, y and s (shaped as a, b and the thresholds): saturate(x[i] + y[j]) >= s where a[i] + b[j] >= the threshold.

    All are whole; x and y fit into a stream. None where so few bits were not enough.
    """
    order, (t, back) = np.argsort(b), np.unique(thresholds, return_inverse=True)
    places = np.searchsorted(b[order], t[:, None] - a)  # of the least b that reaches it [K, I]
    reached, missed = places < len(b), places > 0
    inner = reached.any(1) & missed.any(1)
    unit = max(1.0, *(float(abs(values).max(initial=0)) / (MOST - ROOM) for values in (a, b, t[inner])))
    x, y = (np.rint(values / unit).astype(np.int64) for values in (a, b[order]))
    s = np.clip(np.ceil(t / unit), -FAR, FAR).astype(np.int64)
    for _ in range(SWEEPS):
        risen = y.copy()
        np.maximum.at(risen, places[reached], (s[:, None] - x)[reached])
        risen = np.maximum.accumulate(risen)
        fallen = np.minimum(x, np.where(missed, s[:, None] - 1 - risen[places - 1], FAR).min(0, initial=FAR))
        if (fallen == x).all() and (risen == y).all():
            break
        x, y = fallen, risen
    else:
        return None
    if max(abs(x).max(), abs(y).max()) > MOST or (abs(s[inner]) > MOST).any():
        return None
    s = np.where(inner, s, np.where(missed.any(1), MOST + 1, -MOST - 1))  # never, and always
    y[order] = y.copy()
    return x, y, s[back].reshape(thresholds.shape)
