"""Where models run, and what the processor there can do."""

import platform

import torch


def best_device() -> torch.device:
    """A GPU of NVIDIA or AMD (CUDA or ROCm) where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 by itself; one that emulates it takes up to a hundred times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    # On x86 oneDNN says so of every AVX-512, and of those without BF16 it makes single precision.
    return platform.machine().lower() not in ("x86_64", "amd64") or torch.cpu._is_avx512_bf16_supported()
