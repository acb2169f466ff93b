"""Scikit-learn's digits: 1,797 grey images of 8 x 8 pixels (Alpaydin and Kaynak, 1998), inside the library itself."""

import numpy as np

from crvae3d.datasets.images.images import numbered
from crvae3d.datasets.splits import Splits
from crvae3d.evaluation.holdout import held_out


def load_digits() -> Splits:
    """The digits, a fifth of each class to test on by a fixed draw; intensities 0..16 are scaled to 0..255.

    >>> splits = load_digits()
    >>> splits.train.describe()
    '1,438 images of 8 x 8 pixels, grey, 10 classes'
    >>> len(splits.test)
    359
    """
    from sklearn import datasets

    found = datasets.load_digits()
    pixels = np.round(found.images * (255 / 16)).astype(np.uint8)
    whole = numbered(pixels, found.target.astype(np.int64), tuple("0123456789"), "digit", "scikit-learn's digits")
    test = held_out(whole.labels, seed=0, share=0.2)
    return Splits(whole.select(~test), whole.select(test), "digits", "scikit-learn, load_digits")
