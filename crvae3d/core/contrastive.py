"""Contrastive losses between the codes of shapes and those of their views: what consistency is compared with.

Both pull a view towards its own shape and push it from the others of the batch; a divergence between posteriors only
pulls. Codes are brought to length 1 first, as in both papers, so that the push has no end to run to.
"""

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, cross_entropy, normalize, relu


def nt_xent(views: Tensor, originals: Tensor, temperature: float = 0.1, standardised: bool = False) -> Tensor:
    """The normalised temperature-scaled cross-entropy: name a code's partner among all other codes of the batch.

    Chen and others, A Simple Framework for Contrastive Learning of Visual Representations, 2020.

    Args:
        views: (B, D) codes.
        originals: (B, D), in the same order.
        temperature: the cosine similarities are divided by it.
        standardised: bring each coordinate to mean 0 and deviation 1 over the 2B codes first, so that those of little
            spread, which a classifier of standardised codes reads as well, are tied as much as the others.

    Returns:
        (B,) nats, the mean of a pair's two directions; nought for a single shape.
    """
    size = len(views)
    codes = torch.cat([views, originals])
    if standardised:
        codes = codes.to(torch.promote_types(codes.dtype, torch.float32))
        codes = batch_norm(codes, None, None, training=True, eps=1e-8)
    codes = normalize(codes, dim=1)
    similarity = (_products(codes, codes) / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(2 * size, device=codes.device).roll(size)
    return cross_entropy(similarity, partner, reduction="none").view(2, size).mean(0)


def triplet(views: Tensor, originals: Tensor, margin: float = 0.2) -> Tensor:
    """The triplet loss: an original is nearer to its own view than to another shape's, by a margin.

    max(0, |a - p|^2 - |a - n|^2 + margin), with the semi-hard negative: of the other shapes' views that are farther than
    the own one the nearest, or the farthest of all where none is. Schroff and others, FaceNet, 2015.

    Args:
        views: (B, D) codes.
        originals: (B, D), in the same order: the anchors.
        margin: in squared distances between codes of length 1, which lie in [0, 4].

    Returns:
        (B,); nought for a single shape.
    """
    anchors, others = normalize(originals, dim=1), normalize(views, dim=1)
    squared = 2 - 2 * _products(anchors, others)
    positive = squared.diagonal()
    own = torch.eye(len(views), dtype=torch.bool, device=views.device)
    with torch.no_grad():  # the choice of a negative has no gradient
        farther = (squared > positive[:, None]) & ~own
        nearest = squared.masked_fill(~farther, torch.inf).argmin(1)
        farthest = squared.masked_fill(own, -torch.inf).argmax(1)
        chosen = torch.where(farther.any(1), nearest, farthest)
    loss = relu(positive - squared.gather(1, chosen[:, None])[:, 0] + margin)
    return loss if len(views) > 1 else 0 * loss


def _products(a: Tensor, b: Tensor) -> Tensor:
    """All inner products in full precision, also within a training in half precision."""
    precision = torch.promote_types(a.dtype, torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        return a.to(precision) @ b.to(precision).mT
