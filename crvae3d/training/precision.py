"""Half precision, where it pays: some processors multiply matrices of bfloat16 in a plain loop, a hundred times slower."""

import torch

from crvae3d.training.settings import Training


def has_bf16(device: torch.device) -> bool:
    """Whether a device has kernels for products of bfloat16: a CPU, whether oneDNN has them for it."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision_of(training: Training, device: torch.device | None = None) -> str:
    """What a training runs in: the precision that was asked for, or single where `bf16-mixed` would take a hundred times longer.

    Args:
        training: settings.
        device: where it runs; None for the one that Lightning takes.
    """
    if device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    return "32-true" if training.precision == "bf16-mixed" and not has_bf16(device) else training.precision
