"""Which arithmetic a device computes fastest in, decided in one place.

bfloat16 where the hardware has it: GPUs, and CPUs with AVX-512-BF16, AMX, or Arm's BF16 instructions. Elsewhere
PyTorch and oneDNN imitate it at a fraction of the speed of fp32 (a Zen 3 core, AVX2 only), so fp32 it is.
"""

import platform

import torch


def whole(state):
    """A network's weights, saved in whatever precision, in fp32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def has_bfloat16(device="cpu"):
    """Whether the device multiplies bfloat16 in hardware."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def autocast(device="cpu", wanted=True):
    """The context in which networks run: bfloat16 where it is fast and `wanted`, else what their weights are in."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bool(wanted and has_bfloat16(device)))
