"""Where models run, and what the processor there can do."""

import torch


def best_device() -> torch.device:
    """A GPU of NVIDIA or AMD (CUDA or ROCm) where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether a device has kernels for products of bfloat16; a CPU without them takes a hundred times as long for each."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
