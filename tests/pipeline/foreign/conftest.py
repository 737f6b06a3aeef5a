from __future__ import annotations

import pytest

from pipeline.body.model import BodyModel


@pytest.fixture(scope="package")
def body() -> BodyModel:
    return BodyModel.open_body()
