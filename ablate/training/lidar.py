"""LiDAR: how many directions tell clips apart, beside how features vary within a clip.

Thilak et al., "LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures",
ICLR 2024, section 4. https://arxiv.org/abs/2312.04000
The paper's classes are clean images, and its samples augmented or masked views of one. Here a class
is a clip and its samples are the features of its patches, which are at hand; so values are not
comparable with those of the paper.
"""

import torch
from torch import Tensor

NOISE = 1e-4  # added to the covariance within clips, as in the paper


def compute_lidar(features: Tensor, owner: Tensor, num_clips: int) -> float:
    """Computes exp(entropy) of the eigenvalues of between-clip over within-clip covariance.

    Args:
        features: `(tokens, dim)`.
        owner: The clip of each token, int64 `(tokens,)`.
        num_clips: Number of clips; each has a token.

    Returns:
        From 1 to the smaller of `dim` and `num_clips - 1`; 0 if all clips are alike, NaN if a
        feature is not finite.
    """
    features = features.double()
    if not features.isfinite().all():
        return float("nan")
    sums = features.new_zeros(num_clips, features.shape[1]).index_add_(0, owner, features)
    means = sums / owner.bincount(minlength=num_clips).unsqueeze(1)
    between = means - means.mean(dim=0)
    within = features - means.index_select(0, owner)
    covariance = within.T @ within / len(within)
    covariance.diagonal().add_(NOISE)
    # whitened by a Cholesky factor, which has the eigenvalues of the symmetric root
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, between.T, upper=False)
    values = torch.linalg.svdvals(white).square()
    if values.sum() < 1e-9:
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())


def compute_gap(features: Tensor, others: Tensor) -> float:
    """Computes the mean distance of features `(tokens, dim)` from others, as a share of these."""
    features, others = features.float(), others.float()
    distance = (features - others).norm(dim=1)
    return float((distance / others.norm(dim=1).clamp(min=1e-12)).mean())
