"""Options of Beam: what it would only warn of is refused, with the nearest name."""

from __future__ import annotations

import pytest

from pipeline.runner.beam_flags import check_flags
from schemas.errors import SettingsError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runer=DirectRunner"], "no option '--runer'. Did you mean --runner?"),
        (["--runner=DataflowRunner", "--projct", "p"], "no option '--projct'. Did you mean --project?"),
        (["--xyzzy"], "no option '--xyzzy'. Beam lists its options"),
        (["--temp_loc=x"], "no option '--temp_loc'."),  # no abbreviations
        (["DirectRunner"], "'DirectRunner', after --, is no option of Beam."),
        (["--num_workers=many"], "--num_workers: invalid int value: 'many'."),
        (["--runner"], "--runner: expected one argument."),
        (["--runner=Datflow"], "no runner 'Datflow'. Did you mean DataflowRunner?"),
        (["--runner=FlinkRunner", "--paralelism=4"], "Did you mean --parallelism?"),
    ],
)
def test_what_beam_does_not_know_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_flags(arguments)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--runner=DataflowRunner", "--project=p", "--region", "r", "--experiments=a", "--experiments=b"],
        ["--runner=direct"],
        ["--runner=some.module.OwnRunner"],
        ["--runner=FlinkRunner", "--of-its-job-server", "4"],
    ],
)
def test_what_beam_knows_passes(arguments: list[str]) -> None:
    check_flags(arguments)
