"""A Spark context for a run: what it needs on this machine, and settings without which it would not fit us."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import EngineError, SettingsError

if TYPE_CHECKING:
    from pyspark import SparkContext

OLDEST_JAVA = 17
ROOT = Path(__file__).resolve().parents[2]
"""Where this package lies: executors on this machine find it there, installed or not."""
_QUIET = (
    "rootLogger.level = error\nrootLogger.appenderRef.stderr.ref = stderr\nappender.stderr.type = Console\n"
    "appender.stderr.name = stderr\nappender.stderr.target = SYSTEM_ERR\n"
)


def check_parts() -> None:
    """Raises EngineError where PySpark or Java is missing."""
    if importlib.util.find_spec("pyspark") is None:
        raise EngineError(
            "the engine spark needs PySpark, which is not installed.",
            remedy="pip install 'humandepth[spark]', or use --engine beam.",
        )
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    remedy = f"Install Java {OLDEST_JAVA} or later (Debian: openjdk-17-jre-headless), or correct JAVA_HOME."
    if java is None:
        where = f"in JAVA_HOME, {home}" if home else "on the PATH"
        raise EngineError(f"the engine spark needs Java, and there is none {where}.", remedy=remedy)
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < OLDEST_JAVA:
        version = said.splitlines()[0] if said else "nothing"
        raise EngineError(f"{java} is too old for Spark: it says {version}.", remedy=remedy)


def spark_settings(arguments: tuple[str, ...]) -> dict[str, str]:
    """The words after a lone --, each NAME=VALUE of a setting of Spark. Raises SettingsError for any other."""
    settings = {}
    for word in arguments:
        name, equals, value = word.partition("=")
        if not name.startswith("spark.") or not equals:
            raise SettingsError(
                f"{word!r}, after --, is no setting of Spark.",
                remedy="Give spark.NAME=VALUE, for example spark.executor.memory=4g.",
            )
        settings[name] = value
    return settings


@contextmanager
def spark_context(master: str, given: Mapping[str, str], *, is_local: bool) -> Iterator[SparkContext]:
    """A context that ends with the block. On this machine Spark's files lie among the run's temporary ones."""
    place = Path(tempfile.mkdtemp(prefix="spark-"))
    settings = {
        "spark.app.name": "humandepth",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    changed = {"SPARK_SUBMIT_OPTS": _quiet_options(place)}
    if is_local:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        settings |= {
            "spark.ui.enabled": "false",
            "spark.local.dir": str(place),
            "spark.driver.host": "localhost",
            "spark.executorEnv.PYTHONPATH": os.pathsep.join(paths),
        }
        changed |= {"PYSPARK_PYTHON": sys.executable, "SPARK_HOME": _linked_home(place)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update({name: value for name, value in changed.items() if before[name] is None})
    try:
        with warnings.catch_warnings():  # PySpark's own, about versions of pandas
            warnings.simplefilter("ignore")
            from pyspark import SparkConf, SparkContext

            conf = SparkConf().setMaster(master).setAll(list((settings | dict(given)).items()))
            context = SparkContext(conf=conf)
        try:
            yield context
        finally:
            context.setLogLevel("OFF")  # executors that still speak while all ends are no news
            context.stop()
    finally:
        for name in (name for name, value in before.items() if value is None):
            os.environ.pop(name, None)
        shutil.rmtree(place, ignore_errors=True)


def _quiet_options(place: Path) -> str:
    """Options of Spark's own Java process: errors only, before it has read any setting."""
    file = place / "log4j2.properties"
    file.write_text(_QUIET)
    return f"-Dlog4j2.configurationFile={file}"


def _linked_home(place: Path) -> str:
    """Spark's folder as links: a local cluster writes into its home, which is PySpark's installation otherwise."""
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    home = place / "home"
    home.mkdir()
    for entry in Path(spec.origin).parent.iterdir():
        if entry.name != "work":
            (home / entry.name).symlink_to(entry)
    return str(home)
