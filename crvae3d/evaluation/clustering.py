"""How far clusters of codes, found without labels, are the classes.

Normalised mutual information is I(cluster; class) by the arithmetic mean of the two entropies (Vinh, Epps and Bailey,
Information Theoretic Measures for Clusterings Comparison, 2010); the adjusted Rand index is the share of pairs of shapes
on which both agree, shifted and scaled so that chance is 0 and equality 1 (Hubert and Arabie, Comparing Partitions,
1985). Only the second corrects for chance: the first is above 0 for random clusters, and the more so the more there are.
"""

from dataclasses import dataclass

import numpy as np

from crvae3d.evaluation.holdout import check_labelled, standardised


@dataclass(frozen=True)
class Clustering:
    """The agreement of clusters and classes.

    Attributes:
        nmi: normalised mutual information, in [0, 1].
        ari: adjusted Rand index, at most 1, and 0 by chance.
    """

    nmi: float
    ari: float


def clustering(codes: np.ndarray, labels: np.ndarray, seed: int = 0, restarts: int = 10) -> Clustering:
    """Sort codes by k-means into as many clusters as there are classes, and compare them with the classes.

    Features are standardised over the set itself, so that their units do not decide. Labels give the number of clusters
    and nothing else.

    Args:
        codes: (S, F).
        labels: (S,).
        seed: of the first centres.
        restarts: the tightest of so many clusterings is taken.

    Raises:
        InputError: the features are not finite, or do not fit the labels.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    labels = np.asarray(labels)
    check_labelled(codes, labels, "clustering")
    (features,) = standardised(codes)
    found = KMeans(len(np.unique(labels)), n_init=restarts, random_state=seed).fit_predict(features)
    return Clustering(
        nmi=float(normalized_mutual_info_score(labels, found, average_method="arithmetic")),
        ari=float(adjusted_rand_score(labels, found)),
    )
