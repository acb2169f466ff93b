"""The ceiling: an encoder trained with labels, by a linear classifier on its posterior means and cross-entropy.

Frozen codes of an unsupervised encoder of the same size can be expected to come near it, not to pass it by much.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from crvae3d.errors import Diverged, InputError
from crvae3d.training.module import seed_of
from crvae3d.training.schedule import warm_up_and_cosine
from crvae3d.training.settings import Training

SMOOTHING = 0.1


def fit_supervised(
    model: nn.Module,
    clouds: Dataset,
    labels: np.ndarray,
    views: Callable[..., Tensor],
    training: Training,
    each_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> nn.Linear:
    """Train the encoder of a model in place, labels smoothed by a tenth, with the optimiser and the schedule of `fit`.

    Args:
        model: its `encoder` maps (B, N, 3) to a distribution of mean (B, D) and has `code_size`; what else the means go
            through, such as the walk of a hierarchy, is trained too, and the rest stays as it is.
        clouds: dataset whose `__getitems__` gives several shapes (N, 3).
        labels: (S,) integers from nought.
        views: what is learnt from, called as `views(batch, generator=generator)`.
        training: settings; of `devices` one alone is used, the encoder's own.
        each_epoch: told the epoch, from 1, and its mean loss.

    Returns:
        The classifier of the means.

    Raises:
        InputError: the precision is 16-mixed, which needs a loss that is scaled.
        Diverged: a gradient is not finite.
    """
    half = _is_half(training, model)
    encoder, device = model.encoder, next(model.parameters()).device
    kinds = torch.as_tensor(labels.astype(np.int64))
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        scores = nn.Linear(encoder.code_size, int(kinds.max()) + 1).to(device)
    weights = [*model.parameters(), *scores.parameters()]
    optimizer = torch.optim.AdamW(weights, training.learning_rate, weight_decay=training.weight_decay)
    batch = min(training.batch_size, len(clouds))
    steps = training.epochs * (len(clouds) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_cosine(steps))
    model.train()
    for epoch in range(1, training.epochs + 1):
        generator = torch.Generator().manual_seed(seed_of(training.seed, epoch))
        order = torch.randperm(len(clouds), generator=generator).split(batch)
        total = 0.0
        for rows in order[: len(clouds) // batch]:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                drawn = torch.stack(list(clouds.__getitems__(rows.tolist()))).to(device)
                found = scores(encoder(views(drawn, generator=generator)).mean)
            loss = nn.functional.cross_entropy(found.float(), kinds[rows].to(device), label_smoothing=SMOOTHING)
            loss.backward()
            if not nn.utils.clip_grad_norm_(weights, training.clip).isfinite():
                raise Diverged(
                    f"the gradient is not finite in epoch {epoch}: lower the learning rate, or look for extreme coordinates "
                    "with `crvae3d data check`"
                )
            optimizer.step(), optimizer.zero_grad(), schedule.step()
            total += float(loss.detach()) * len(rows)
        each_epoch(epoch, total / (len(clouds) // batch * batch))
    model.eval()
    return scores.eval()


def _is_half(training: Training, model: nn.Module) -> bool:
    if training.precision == "16-mixed":
        raise InputError("an encoder is trained with labels in 32-true or bf16-mixed: choose one as the precision")
    return training.precision_on(next(model.parameters()).device) == "bf16-mixed"
