"""What is said before any input is looked at: combinations that make no sense, parts that are missing, silence."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from pipeline.commands.main import main
from pipeline.runner import beam_options, spark_session
from pipeline.runner.engines import NAMES, make_engine
from pipeline.runner.tally import Tally, total
from schemas.errors import EngineError, SettingsError


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("loop", {"workers": 2}, "one unit at a time"),
        ("loop", {"arguments": ["--runner=X"]}, "has no options"),
        ("beam", {"master": "local[2]"}, r"--master is no option of the engine beam\. Add --engine spark"),
        ("spark", {"master": "local[2]", "workers": 2}, "Leave one of them out"),
        ("spark", {"arguments": ["--runner=X"]}, "'--runner=X', after --, is no setting of Spark"),
        ("spark", {"arguments": ["spark.executor.memory"]}, r"Give spark\.NAME=VALUE"),
        ("flink", {}, "no engine 'flink'. Known: beam, spark, loop"),
        *[(name, {"workers": 0}, "--workers cannot be 0") for name in NAMES],
    ],
)
def test_a_combination_without_sense_is_refused(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        make_engine(name, **options)  # type: ignore[arg-type]


def test_a_missing_pyspark_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"PySpark.*pip install 'humandepth\[spark\]'"):
        make_engine("spark")


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (None, "needs Java, and there is none in JAVA_HOME.*openjdk-17-jre-headless"),
        ('openjdk version "11.0.2" 2019-01-15', "too old for Spark.*11.0.2"),
        ('java version "1.8.0_391"', "too old for Spark"),
        ('openjdk version "17.0.15" 2025-04-15', ""),
        ('openjdk version "21" 2023-09-19', ""),
    ],
)
def test_java_is_found_and_new_enough(
    version: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if version is not None:
        java = tmp_path / "bin" / "java"
        java.parent.mkdir()
        java.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
        java.chmod(0o755)
    if not says:
        return spark_session.check_parts()
    with pytest.raises(EngineError, match=says):
        spark_session.check_parts()


@pytest.mark.parametrize("is_silent", [False, True], ids=["closed", "silent"])
def test_an_unreachable_job_service_is_one_clear_error(
    is_silent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert beam_options.ENDPOINT_LIMIT_S < 30
    monkeypatch.setattr(beam_options, "ENDPOINT_LIMIT_S", 0.5)
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        if is_silent:  # something listens, and does not speak Beam's language
            listener.listen()
        address = f"localhost:{listener.getsockname()[1]}"
        options = ["--runner=PortableRunner", f"--job_endpoint={address}"]
        code = main(["run", str(tmp_path), "--out", str(tmp_path / "out"), "--", *options])
    assert code == 1
    assert f"no job service of Beam answers at {address}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tallies_add_up_in_any_order() -> None:
    one = Tally(counts={"a": 1, "b": 2}, peak_mb=5, workers=frozenset({"x"}))
    two = Tally(counts={"b": 3}, peak_mb=7, workers=frozenset({"x", "y"}))
    expected = Tally(counts={"a": 1, "b": 5}, peak_mb=7, workers=frozenset({"x", "y"}))
    assert one + two == two + one == total([Tally(), one, two]) == expected
