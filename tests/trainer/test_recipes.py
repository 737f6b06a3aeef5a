"""How the base depth was made: read from a dataset, compared between several, kept with the checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.config import preset
from schemas.dataset import FILES_PATH, SETTINGS_PATH, Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.settings import as_dict, with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from trainer.checkpoint import load_checkpoint
from trainer.config import preset as trainer_preset
from trainer.recipes import common_recipe, recipe_of
from trainer.train import fit


@pytest.fixture(scope="module")
def row() -> dict:
    return sphere_row(1, base_radius_m=0.57, turns_deg=(9.0,))


def made(folder: Path, row: dict, *changes: str, digests: dict[str, str] | None = None) -> Path:
    """A dataset whose `meta/` says it was made with these settings."""
    write_dataset(folder, [row])
    settings = as_dict(with_overrides(preset("paper"), changes))
    (folder / SETTINGS_PATH).write_text(json.dumps(settings))
    if digests is not None:
        (folder / FILES_PATH).write_text(json.dumps(digests))
    return folder


def test_a_recipe_is_what_the_dataset_says_local_or_not(tmp_path: Path, row: dict) -> None:
    root = made(tmp_path / "a", row, "rendering.smoothing_passes=4", digests={"body.file": "ab" * 32})
    recipe = recipe_of(Dataset.open(root))
    assert recipe is not None
    assert recipe.get("rendering.smoothing_passes") == 4
    assert recipe.sha256 == {"body.file": "ab" * 32}
    assert "pairs" not in recipe.settings
    assert recipe_of(Dataset.open(root.as_uri())) == recipe
    assert recipe_of(Dataset.open(write_dataset(tmp_path / "bare", [row]))) is None
    for damaged in ("{", "[]", '{"rendering": 3}'):
        (root / SETTINGS_PATH).write_text(damaged)
        with pytest.raises(DatasetError, match=r"settings\.json.*cannot be read"):
            recipe_of(Dataset.open(root))


def test_older_datasets_are_asked_for_the_file_itself(tmp_path: Path, row: dict) -> None:
    (tmp_path / "body.npz").write_bytes(b"a body")
    root = made(tmp_path / "a", row, f"body.file={tmp_path / 'body.npz'}")
    recipe = recipe_of(Dataset.open(root))
    assert recipe is not None
    assert recipe.sha256 == {"body.file": hashlib.sha256(b"a body").hexdigest()}
    (tmp_path / "body.npz").unlink()
    recipe = recipe_of(Dataset.open(root))
    assert recipe is not None
    assert recipe.sha256 == {}


@pytest.mark.parametrize(
    ("changes", "digests", "named"),
    [
        (["rendering.surface_offset_m=0.026"], {"body.file": "ab"}, r"surface_offset_m is 0\.0 and 0\.026"),
        (["camera.medium_focal=1.5"], {"body.file": "ab"}, "medium_focal"),
        ([], {"body.file": "cd"}, "body.file has SHA-256 ab and cd"),
        (
            ["rendering.clothes=c.npz"],
            {"body.file": "ab", "rendering.clothes": "ef"},
            "clothes is '' and 'c.npz'",
        ),
    ],
)
def test_unlike_base_depths_are_not_mixed_unless_allowed(
    tmp_path: Path, row: dict, changes: list[str], digests: dict[str, str], named: str
) -> None:
    roots = [
        made(tmp_path / "a", row, digests={"body.file": "ab"}),
        made(tmp_path / "b", row, *changes, digests=digests),
    ]
    datasets = [Dataset.open(root) for root in roots]
    said: list[str] = []
    with pytest.raises(SettingsError, match=rf"{named}.*data\.allow_unlike_recipes=true"):
        common_recipe(datasets, allow_unlike=False, warn=said.append)
    assert not said
    recipe = common_recipe(datasets, allow_unlike=True, warn=said.append)
    assert recipe == recipe_of(datasets[0])
    assert len(said) == 1


def test_other_trackers_are_mixed_with_a_warning(tmp_path: Path, row: dict) -> None:
    roots = [
        made(tmp_path / "a", row),
        made(tmp_path / "b", row, "tracking.tracker=network", "pairs.target_stride=3"),
    ]
    said: list[str] = []
    common_recipe([Dataset.open(root) for root in roots], allow_unlike=False, warn=said.append)
    (line,) = said
    assert "tracking.tracker is 'landmarks' and 'network'" in line


def test_fit_keeps_the_recipe_and_the_extent(tmp_path: Path, row: dict) -> None:
    root = made(tmp_path / "a", row, digests={"body.file": "ab" * 32})
    settings = with_overrides(
        trainer_preset("small"),
        ["model.width=8", "model.stem_width=8", "model.downs=3", "train.max_steps=3", "train.batch_size=2",
         "data.workers=0", "data.validation_share=0", "train.max_minutes=1e-9"],
    )  # fmt: skip
    fit(str(root), str(tmp_path / "clock"), settings)
    facts = json.loads((tmp_path / "clock/checkpoint.json").read_text())
    assert facts["extent"] == {
        "steps_done": 0, "steps_planned": 3, "epochs_done": 0.0, "epochs_planned": 6.0, "share_done": 0.0,
        "ended_by": "clock",
    }  # fmt: skip
    settings = with_overrides(settings, ["train.max_minutes=null", "train.max_steps=2"])
    fit(str(root), str(tmp_path / "plan"), settings)
    facts = json.loads((tmp_path / "plan/checkpoint.json").read_text())
    assert (facts["extent"]["epochs_done"], facts["extent"]["ended_by"]) == (4.0, "plan")
    assert load_checkpoint(tmp_path / "plan").recipe == recipe_of(Dataset.open(root))
