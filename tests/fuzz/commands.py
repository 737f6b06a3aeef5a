"""Commands on a damaged dataset: each is asked in the process, and its exit code and what it prints are judged."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.commands import main as cli
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from schemas.errors import HumandepthError
from tests.fuzz.damage import Damage
from tests.support.fast_units import fast_resources, fast_settings


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A damaged dataset, and where the corpus keeps the clips it was made from."""

    root: Path
    damage: Damage
    corpus: Path


def run_command(root: Path, damage: Damage, corpus: Path) -> tuple[str, tuple[str, str]]:
    """One command, drawn by the mutant's number: its name, and (outcome, what it said)."""
    rng = np.random.default_rng([6668, damage.number])
    known = _FOR_TABLES if damage.is_table else _FOR_DOCUMENTS
    names = list(known)
    weights = np.array([known[name] for name in names], float)
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = _COMMANDS[name](Asked(root=root, damage=damage, corpus=corpus))
    except HumandepthError as error:
        code = error.exit_code
        said.write(f"error: {error}")
    except AssertionError as error:
        return name, ("broken promise", str(error))
    except Exception as error:  # a bare exception is what this looks for
        return name, ("bare", f"{type(error).__name__}: {error}")
    text = said.getvalue()
    if code == 0:
        return name, ("same", "")
    if "error:" not in text or "Traceback" in text:
        return name, ("bare", text)
    is_named = Path(damage.path).name in text or damage.record_agrees
    return name, ("error" if is_named else "unnamed", text[-2000:])


def _cli(*arguments: str) -> Callable[[Asked], int]:
    return lambda asked: cli.main([each.replace("ROOT", str(asked.root)) for each in arguments])


def _trainer_reads(asked: Asked) -> int:
    """What `fit`, `predict --dataset` and `probe` read: fit counts damaged rows, the others end with an error."""
    from trainer.config import DataSettings
    from trainer.data import Samples, read_index
    from trainer.subject import subjects_of_dataset

    index = read_index(Dataset.open(asked.root))
    samples = Samples(index, DataSettings(), seed=0, training=True)
    bad = [why for at in range(len(index)) for why in samples[0, at].bad_rows]
    assert all("is damaged" in why for why in bad), bad
    try:
        count = sum(1 for _ in subjects_of_dataset(str(asked.root)))
    except HumandepthError:
        assert bad, "predict refuses what fit reads"
        raise
    assert count == len(index)
    return 0


def _remake(asked: Asked) -> int:
    """`run` again with the same clips: afterwards the dataset is what it was, save how often a clip has failed."""
    from pipeline.runner.driver import run

    clips = clips_from_arguments([str(asked.corpus / "clips.csv")])
    run(clips, str(asked.root), fast_settings(), make_resources=fast_resources)
    again = Dataset.open(asked.root)
    if not asked.damage.record_agrees:
        sound = Dataset.open(asked.corpus / "dataset-plain")
        assert _hashes(again) == _hashes(sound), "the remade dataset is another one"
        assert not again.verify(), again.verify()
    return 0


def _hashes(dataset: Dataset) -> dict[str, str]:
    shards = [shard for record in dataset.records for shard in record.shards]
    return {shard.path: shard.sha256 for shard in shards if shard.table != "failures"}


def _compact(asked: Asked) -> int:
    """`compact`: what was damaged is refused, and no file of a table goes."""
    names = sorted(asked.root.glob("*/*.parquet"))
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in names}
    code = cli.main(["dataset", "compact", str(asked.root), "--megabytes", "64"])
    if code:
        for path, digest in before.items():
            assert path.is_file(), f"{path} was deleted"
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, f"{path} was changed"
    return code


def _forget(asked: Asked) -> int:
    """`forget`: with exit code 0 no row of the source is left."""
    code = cli.main(["dataset", "forget", str(asked.root), "--source", "source-a"])
    if code == 0:
        assert all(row["source_id"] != "source-a" for row in Dataset.open(asked.root).rows("clips"))
    return code


def _json_audit(asked: Asked) -> int:
    """`audit --json`: the same figures or an error."""
    out = asked.root.parent / "figures.json"
    code = cli.main(["audit", str(asked.root), "--json", str(out)])
    if code == 0 and asked.damage.is_table and not asked.damage.record_agrees:
        sound = json.loads((asked.corpus / f"{_kind(asked)}-figures.json").read_text())
        found = json.loads(out.read_text())
        differing = [key for key in sound if found[key] != sound[key] and key != "dataset"]
        assert not differing, f"other figures: {differing}"
    return code


def _kind(asked: Asked) -> str:
    packed = any(path.name.startswith("pack-") for path in asked.root.glob("clips/*"))
    return "dataset-packed" if packed else "dataset-plain"


def _plan(asked: Asked) -> int:
    """`plan` with the costs of the dataset."""
    root, clips = str(asked.root), str(asked.corpus / "clips.csv")
    return cli.main(["plan", clips, "--like", root, "--out", root])


def _remembered_truth(asked: Asked) -> int:
    """`evaluate` of a prediction with the mutant's own bytes in the place of a file of it."""
    folder = asked.root.parent / "predictions"
    folder.mkdir(exist_ok=True)
    sound = next((asked.corpus / "truths").glob("*.npz"))
    data = bytearray(sound.read_bytes())
    rng = np.random.default_rng([6669, asked.damage.number])
    for place in rng.integers(0, len(data), int(rng.integers(1, 30))):
        data[int(place)] = int(rng.integers(256))
    (folder / asked.damage.path.replace("/", "-")).write_bytes(data)
    shutil.copy(sound, folder / sound.name)
    from schemas.prediction import Prediction
    from schemas.truth import Truth

    names = [asked.damage.path.replace("/", "-")]
    for kind in (Prediction, Truth):
        try:
            kind.load(folder / names[0])
        except HumandepthError as error:
            names.append(str(error))
    assert all(names[0] in said for said in names)
    return 0


_COMMANDS: dict[str, Callable[[Asked], int]] = {
    "audit": _cli("audit", "ROOT"),
    "audit --json": _json_audit,
    "audit --out": _cli("audit", "ROOT", "--out", "ROOT/../page.html", "--pictures", "3"),
    "audit --where": _cli("audit", "ROOT", "--where", "mean_baseline_m >= 0.3 and min_silhouette_iou > 0.5"),
    "audit --selection": _cli("audit", "ROOT", "--selection", "wide"),
    "audit --splits": _cli("audit", "ROOT", "--splits", "ROOT/meta/splits.json"),
    "verify": _cli("dataset", "verify", "ROOT", "--render", "1"),
    "verify --selection": _cli("dataset", "verify", "ROOT", "--render", "0", "--selection", "wide"),
    "show pair": _cli("show", "pair", "ROOT", "--out", "ROOT/../pair.png"),
    "gallery": _cli("gallery", "ROOT", "--out", "ROOT/../gallery.jpg", "--per-track", "1"),
    "compact": _compact,
    "forget": _forget,
    "plan --like": _plan,
    "fit, predict, probe": _trainer_reads,
    "evaluate": _remembered_truth,
    "run": _remake,
}
_FOR_TABLES = {
    "audit": 1, "audit --json": 2, "audit --out": 1, "audit --where": 2, "audit --selection": 1, "verify": 2,
    "show pair": 2,
    "gallery": 2, "compact": 3, "forget": 2, "plan --like": 1, "fit, predict, probe": 3, "evaluate": 1, "run": 1,
}  # fmt: skip
_FOR_DOCUMENTS = {
    "audit": 1, "audit --selection": 2, "audit --splits": 1, "verify": 2, "verify --selection": 1, "compact": 2,
    "forget": 2, "plan --like": 2, "run": 2,
}  # fmt: skip
