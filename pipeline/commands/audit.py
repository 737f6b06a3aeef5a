"""The command `audit`: its arguments, and the order in which tables become figures, a page and a view."""

from __future__ import annotations

import argparse

from schemas.dataset import Dataset
from schemas.errors import SettingsError
from schemas.escaping import shown
from schemas.places import file_to_write, plain_path
from schemas.views import View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m pipeline audit` takes."""
    parser.add_argument("dataset", type=plain_path)
    parser.add_argument(
        "other",
        type=plain_path,
        nargs="?",
        metavar="DATASET_B",
        help="another dataset, to set beside it through the same views",
    )
    parser.add_argument(
        "--out",
        type=file_to_write,
        metavar="REPORT.HTML",
        help="write everything as one page that needs no network",
    )
    parser.add_argument(
        "--json",
        type=file_to_write,
        metavar="FILE",
        help="also write every figure to this file (look-alike pictures only with --out)",
    )
    parser.add_argument(
        "--where", metavar="EXPR", help="look only at pairs for which this holds: 'mean_baseline_m >= 0.8'"
    )
    parser.add_argument(
        "--where-samples",
        metavar="EXPR",
        help="look only at samples for which this holds, as data.where does",
    )
    parser.add_argument(
        "--save-view", metavar="NAME", help="write the filter into the dataset under this name"
    )
    parser.add_argument(
        "--view",
        metavar="NAME",
        action="append",
        default=[],
        help="look through a saved view; twice: side by side",
    )
    parser.add_argument(
        "--pictures", type=int, default=24, help="pairs drawn on the page (default 24; 0: none)"
    )
    parser.add_argument(
        "--splits", help='JSON file {"training": [source, ...], "validation": [...]} to check'
    )
    parser.add_argument(
        "--training",
        type=plain_path,
        metavar="CHECKPOINT",
        help="a training on this dataset: which data its losses dislike",
    )


def audit(options: argparse.Namespace) -> int:
    """Reads, counts, prints; writes what was asked for. Returns the exit code."""
    from pipeline.audit.baselines import distribution
    from pipeline.audit.figures import figures_of, side_of, write_figures
    from pipeline.audit.lookalikes import lookalikes
    from pipeline.audit.report import write_report
    from pipeline.audit.scalars import read_tables
    from pipeline.audit.terminal import print_audit

    dataset = Dataset.open(options.dataset)
    views = [*_given_view(options), *(View.load(dataset.root, name) for name in options.view)]
    whole = read_tables(dataset)
    tables = whole.seen_through(views[0]) if views else whole
    sides = []
    if views or options.other:
        edges = distribution(whole, "mean_baseline_m").edges
        both = {options.dataset: whole}
        if options.other:
            both[options.other] = read_tables(Dataset.open(options.other))
        for path, each in both.items():
            named = f"{shown(path)}, " if options.other else ""
            sides.append(side_of(each, f"{named}as made", edges))
            sides += [side_of(each.seen_through(view), f"{named}view {view.name}", edges) for view in views]
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
        print("the same as one page with sliders and pictures: --out REPORT.html; every figure: --json FILE")
    if options.save_view:
        print(f"wrote {shown(views[0].save(dataset.root))}")
    return 0


def _given_view(options: argparse.Namespace) -> list[View]:
    """The view that `--where` and `--where-samples` make, checked before anything is read."""
    if options.where or options.where_samples:
        name = "unsaved" if options.save_view is None else options.save_view
        return [View(name=name, pairs=options.where, samples=options.where_samples)]
    if options.save_view is not None:
        raise SettingsError("--save-view has nothing to save.", remedy="Give --where or --where-samples.")
    return []
