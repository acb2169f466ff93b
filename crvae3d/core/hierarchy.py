"""Hierarchical distributions: a code in groups, each drawn given the groups before it.

    q(z) = q(z_1) q(z_2|z_1) ... q(z_L|z_<L),    each conditional a function of a state h_l made of the parents:
    h_1 = start,  h_{l+1} = advance(l, h_l, z_l)

The walk from state to state is deterministic, and all distributions of one model share it, the posterior and the prior
alike (Vahdat and Kautz, NVAE, 2020; Sonderby and others, Ladder Variational Autoencoders, 2016). Only so can two of them
be compared: the divergence obeys the chain rule with both conditionals at the *same* parents,

    KL(p || q) = sum_l  E_{z_<l ~ p} KL( p(z_l|z_<l) || q(z_l|z_<l) ),

and two distributions that each walk a path of their own are not compared at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, kl_divergence, register_kl

from crvae3d.errors import InputError

State = object
"""What a walk makes of the parents; only the walk and the conditionals look inside. Its first axis is a flat batch (N,)."""

Conditional = Callable[[int, State], Distribution]
"""`conditional(level, state)`: q(z_l|z_<l) with batch shape (N,) and event shape (walk.sizes[level],)."""


class Walk:
    """How the state follows from the groups: what all distributions of a model share. Subclasses write both methods.

    Attributes:
        sizes: the numbers of each group, from the first drawn to the last.
    """

    sizes: tuple[int, ...]

    def start(self, count: int) -> State:
        """The state before the first group, for a batch of `count`."""
        raise TypeError(f"{type(self).__name__} does not say where its walk starts: write `start`")

    def advance(self, level: int, state: State, group: Tensor) -> State:
        """The state after the group (N, sizes[level]) of a level; after the last one it is what is decoded."""
        raise TypeError(f"{type(self).__name__} does not say how its walk goes on: write `advance`")


@dataclass(frozen=True, eq=False)
class Path:
    """A walk that was made: the groups and the states between them, of a batch that is flattened to (N,).

    Attributes:
        groups: of each level, (N, d_l).
        states: L + 1; `states[l]` knows the parents of group l, and the last one knows all groups.
        batch_shape: what the N are, such as (B,), or (K, B) for K samples of each.
    """

    groups: tuple[Tensor, ...]
    states: tuple[State, ...]
    batch_shape: torch.Size

    @property
    def codes(self) -> Tensor:
        """All groups side by side, (..., D)."""
        flat = torch.cat(self.groups, dim=-1)
        return flat.reshape(*self.batch_shape, flat.shape[-1])


def follow(walk: Walk, codes: Tensor) -> Path:
    """The path whose groups are given, codes (..., D).

    Raises:
        InputError: D is not the sum of the walk's sizes.
    """
    if codes.shape[-1:] != (sum(walk.sizes),):
        raise InputError(
            f"codes of this hierarchy have {sum(walk.sizes)} numbers (groups of {', '.join(map(str, walk.sizes))}), "
            f"got the shape {tuple(codes.shape)}; pass the codes of the same model"
        )
    batch_shape = codes.shape[:-1]
    groups = codes.reshape(batch_shape.numel(), codes.shape[-1]).split(walk.sizes, dim=-1)
    states = [walk.start(batch_shape.numel())]
    for level, group in enumerate(groups):
        states.append(walk.advance(level, states[-1], group))
    return Path(groups, tuple(states), batch_shape)


def sample_of(codes: Path | Tensor, index: Tensor) -> Tensor:
    """Of K samples for each of a batch, codes (K, B, D) or a path of them, the one that `index` (B,) names: (B, D)."""
    codes = codes.codes if isinstance(codes, Path) else codes
    return codes[index, torch.arange(len(index), device=index.device)]


Walked = tuple[Path, tuple[Distribution, ...]]
"""A path, and the conditionals that its groups were taken from."""


class Chain(Distribution):
    """A distribution over codes (..., D) which are drawn group by group along a walk.

    A distribution of a batch, such as a posterior, keeps the path that it drew last: a bound then takes its rate on the
    sample of its distortion, and nothing is walked twice. One of batch shape (), such as a prior, belongs to a model and
    keeps nothing, for the weights change beneath it.

    Args:
        walk: shared by all distributions of a model.
        conditional: `conditional(level, state)`. What it holds of a batch (B,) it repeats for a state of (K B,), K outermost.
            A prior's should be a bound method of a module, so that a copied model has a prior of its own.
        batch_shape: (B,) for posteriors, () for a prior, which suits every batch.
    """

    arg_constraints: dict = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, walk: Walk, conditional: Conditional, batch_shape: Sequence[int] = ()) -> None:
        self.walk, self.conditional = walk, conditional
        self._kept: dict[tuple[str, bool], Walked] = {}
        super().__init__(torch.Size(batch_shape), torch.Size([sum(walk.sizes)]), validate_args=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of each group."""
        return self.walk.sizes

    @property
    def mean(self) -> Tensor:
        """Codes (..., D) along the path on which each group is its conditional mean given the means before it."""
        return self._along_means()[0].codes

    @property
    def stddev(self) -> Tensor:
        """The deviations of the conditionals along the same path, (..., D)."""
        path, conditionals = self._along_means()
        stddev = torch.cat([conditional.stddev for conditional in conditionals], dim=-1)
        return stddev.reshape(*path.batch_shape, stddev.shape[-1])

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Path:
        """A path of batch shape `sample_shape` + batch shape, all walked at once."""
        shape = torch.Size(sample_shape) + self.batch_shape
        return self._keep("drawn", self._walked(lambda conditional: conditional.rsample(), shape))[0]

    def log_prob(self, value: Path | Tensor) -> Tensor:
        """The log density of a path, or of codes (..., D) that are walked first: nats, (...,)."""
        path = value if isinstance(value, Path) else follow(self.walk, value)
        pairs = zip(self.conditionals(path), path.groups, strict=True)
        return sum(conditional.log_prob(group) for conditional, group in pairs).reshape(path.batch_shape)

    def conditionals(self, path: Path) -> tuple[Distribution, ...]:
        """q(z_l|z_<l) of each level at the parents that `path` has, each of batch shape (N,).

        Raises:
            InputError: the path is of another batch.
        """
        for drawn, conditionals in self._kept.values():
            if drawn is path:
                return conditionals
        own = len(self.batch_shape)
        if own and path.batch_shape[-own:] != self.batch_shape:
            raise InputError(
                f"a path of the batch shape {tuple(path.batch_shape)} cannot be judged by a distribution of "
                f"{tuple(self.batch_shape)}: expected (..., {', '.join(map(str, self.batch_shape))})"
            )
        return tuple(self.conditional(level, state) for level, state in enumerate(path.states[:-1]))

    def drawn(self) -> Path:
        """The path that was drawn last, or a fresh one where there is none."""
        kept = self._kept.get(("drawn", torch.is_grad_enabled()))
        return self.rsample() if kept is None else kept[0]

    def detach(self) -> "Chain":
        """Refused: on another's path the conditionals follow from that one's groups, whose gradient would be cut as well.

        Raises:
            InputError: always.
        """
        raise InputError("a hierarchy's posterior cannot be held still: leave stop_gradient out")

    def _along_means(self) -> Walked:
        kept = self._kept.get(("means", torch.is_grad_enabled()))
        return kept or self._keep("means", self._walked(lambda conditional: conditional.mean, self.batch_shape))

    def _walked(self, choose: Callable[[Distribution], Tensor], batch_shape: torch.Size) -> Walked:
        """A path on which `choose` takes each group from its conditional, and the conditionals."""
        states, groups, conditionals = [self.walk.start(batch_shape.numel())], [], []
        for level in range(len(self.sizes)):
            conditionals.append(self.conditional(level, states[-1]))
            groups.append(choose(conditionals[-1]))
            states.append(self.walk.advance(level, states[-1], groups[-1]))
        return Path(tuple(groups), tuple(states), batch_shape), tuple(conditionals)

    def _keep(self, name: str, found: Walked) -> Walked:
        """Remember a path, apart from those with the other kind of gradients: a path without them would train nothing."""
        if self.batch_shape:
            self._kept[name, torch.is_grad_enabled()] = found
        return found


def kl_groups(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q) of each group in nats, (L, ...): the batch shape of p last. Two plain distributions are one group.

    Both conditionals stand at the parents of one path of p, the one it drew last if any: the expectation over z_<l is
    estimated with this path (with all K where K were drawn), the divergence of a group is exact where torch knows it and
    else the path's own log-ratio.

    Raises:
        InputError: the two walk differently, or q is of another batch.
    """
    if not (isinstance(p, Chain) and isinstance(q, Chain)):
        return kl_divergence(p, q)[None]
    if p.walk is not q.walk:
        raise InputError(
            "two hierarchical distributions can be compared on one shared walk only: take both of one model"
        )
    path = p.drawn()
    triples = zip(p.conditionals(path), q.conditionals(path), path.groups, strict=True)
    groups = torch.stack([_kl_of_group(*triple) for triple in triples])
    return groups.reshape(len(groups), -1, *p.batch_shape).mean(1)


def _kl_of_group(p: Distribution, q: Distribution, group: Tensor) -> Tensor:
    try:
        return kl_divergence(p, q)
    except NotImplementedError:
        return p.log_prob(group) - q.log_prob(group)


@register_kl(Chain, Chain)
def _kl_between_chains(p: Chain, q: Chain) -> Tensor:
    return kl_groups(p, q).sum(0)


def balanced(groups: Tensor, sizes: Sequence[int]) -> Tensor:
    """The sum over groups, in which each weighs by its mean per number: KL balancing, for the warm-up of the rate.

        sum_l gamma_l KL_l,    gamma_l = (E[KL_l] / d_l) L / sum_k (E[KL_k] / d_k)

    A group that says little costs little, so that none is given up while the rate is still cheap. The weights have mean 1
    and no gradient. Vahdat and Kautz, NVAE, 2020, appendix A, which prints the product with d_l; the first author calls that
    a typo (github.com/NVlabs/NVAE/issues/26), and the published code divides.

    Args:
        groups: (L, B), as `kl_groups` gives them.
        sizes: d_l, the numbers of each group.

    Returns:
        (B,).

    >>> balanced(torch.tensor([[1.0, 1.0], [3.0, 3.0]]), (2, 2))
    tensor([5., 5.])
    """
    with torch.no_grad():
        means = groups.mean(1).clamp(min=0)
        weights = torch.stack([mean / size for size, mean in zip(sizes, means, strict=True)])
        total = weights.mean()
        weights = torch.where(total > 0, weights / total, 1.0)
    return (weights[:, None] * groups).sum(0)
