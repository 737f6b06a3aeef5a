"""What `--device` names is used, or refused with a remedy."""

from __future__ import annotations

import pytest
import torch

from schemas.errors import SettingsError
from trainer.devices import device_of


def test_without_a_name_it_is_a_gpu_where_there_is_one() -> None:
    assert device_of(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_of("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:99"] if torch.cuda.is_available() else ["gpu", "cuda", "cuda:1"]
)
def test_what_is_not_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--device {name} cannot be used here") as refused:
        device_of(name)
    assert "\n" not in str(refused.value)
    assert "cuda:1" in str(refused.value)
