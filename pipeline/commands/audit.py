"""The command `audit`: its arguments, and the order in which tables become figures, a report and a selection."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import add_dataset
from schemas.command_line import Commands
from schemas.dataset import Dataset
from schemas.errors import SettingsError
from schemas.escaping import shown
from schemas.places import file_to_write, plain_path
from schemas.selections import Selection


def add_to(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add(
        "audit",
        "what was kept, what was dropped, and why",
        examples=[
            "dataset",
            "dataset --out audit.html",
            "dataset --where 'rotation_deg <= 25' --save-selection calm",
        ],
    )
    add_dataset(parser)
    parser.add_argument(
        "other",
        type=plain_path,
        nargs="?",
        metavar="DATASET_B",
        help="another dataset, to compare with the first through the same selections",
    )
    parser.add_argument(
        "--out",
        type=file_to_write,
        metavar="REPORT.HTML",
        help="write the report: one HTML page with pictures that needs no network",
    )
    parser.add_argument(
        "--json",
        type=file_to_write,
        metavar="FILE",
        help="also write every figure to this file (look-alike pictures are searched for with --out only)",
    )
    parser.add_argument(
        "--where", metavar="EXPR", help="count only pairs for which this holds, e.g. 'mean_baseline_m >= 0.8'"
    )
    parser.add_argument(
        "--where-samples",
        metavar="EXPR",
        help="count only samples for which this holds, as the trainer's setting data.where does",
    )
    parser.add_argument(
        "--save-selection",
        metavar="NAME",
        help="save --where and --where-samples in the dataset under this name",
    )
    parser.add_argument(
        "--selection",
        metavar="NAME",
        action="append",
        default=[],
        help="count only what a saved selection keeps; repeat it to compare several side by side",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=24,
        metavar="N",
        help="pairs drawn in the report (default: 24; 0: none)",
    )
    parser.add_argument(
        "--splits",
        metavar="FILE",
        help='check a split by sources: JSON of {"training": [source_id, ...], "validation": [source_id, ...]}',
    )
    parser.add_argument(
        "--training",
        type=plain_path,
        metavar="CHECKPOINT",
        help="a training on this dataset: adds which data had high losses",
    )
    parser.set_defaults(command=_audit)


def _audit(options: argparse.Namespace) -> int:
    """Reads, counts, prints; writes what was asked for. Returns the exit code."""
    from pipeline.audit.baselines import distribution
    from pipeline.audit.figures import figures_of, side_of, write_figures
    from pipeline.audit.lookalikes import lookalikes
    from pipeline.audit.report import write_report
    from pipeline.audit.scalars import read_tables
    from pipeline.audit.terminal import print_audit

    if options.pictures < 0:
        raise SettingsError(f"--pictures cannot be {options.pictures}.", remedy="Give 0 or more.")
    given = _given_selection(options)
    dataset = Dataset.open(options.dataset)
    selections = [*given, *(Selection.load(dataset.name, name) for name in options.selection)]
    whole = read_tables(dataset)
    tables = whole.seen_through(selections[0]) if selections else whole
    sides = []
    if selections or options.other:
        edges = distribution(whole, "mean_baseline_m").edges
        both = {options.dataset: whole}
        if options.other:
            both[options.other] = read_tables(Dataset.open(options.other))
        for path, each in both.items():
            named = f"{shown(path)}, " if options.other else ""
            sides.append(side_of(each, f"{named}as made", edges))
            sides += [
                side_of(each.seen_through(selection), f"{named}selection {selection.name}", edges)
                for selection in selections
            ]
    figures = figures_of(
        tables,
        sides=sides,
        alike=lookalikes(tables) if options.out else None,
        splits=options.splits,
        training=options.training,
    )
    print_audit(figures)
    if options.json:
        write_figures(figures, options.json)
    if options.out:
        write_report(figures, tables, options.out, pairs_shown=options.pictures)
        print(f"wrote {shown(options.out)}")
    else:
        print(
            "More: --out REPORT.html writes a page with pictures and sliders, --json FILE writes every figure."
        )
    if options.save_selection:
        print(f"wrote {shown(selections[0].save(dataset.root))}")
    return 0


def _given_selection(options: argparse.Namespace) -> list[Selection]:
    """The selection that `--where` and `--where-samples` make, checked before anything is read."""
    if options.where or options.where_samples:
        name = "unsaved" if options.save_selection is None else options.save_selection
        return [Selection(name=name, pairs=options.where, samples=options.where_samples)]
    if options.save_selection is not None:
        raise SettingsError(
            f"--save-selection {options.save_selection} was given without a filter to save.",
            remedy="Add --where or --where-samples.",
        )
    return []
