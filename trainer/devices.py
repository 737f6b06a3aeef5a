"""Where a network computes: what `--device` names, or a GPU where there is one."""

from __future__ import annotations

import torch

from schemas.errors import SettingsError


def device_of(name: str | None) -> torch.device:
    """The device of that name; without one a GPU where there is one, else the CPU.

    Raises SettingsError where torch knows no such device, or this machine has none.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SettingsError(
            f"--device {name} cannot be used here: {why}.",
            remedy="Give cpu, cuda, cuda:1, ..., or leave --device out: then a GPU is used where there is one.",
        ) from error
    return device
