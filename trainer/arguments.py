"""Options that several commands take: each is declared here once."""

from __future__ import annotations

import argparse


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")


def add_samples(parser: argparse.ArgumentParser) -> None:
    """`--sample` and `--per-track`: which samples of a dataset."""
    parser.add_argument(
        "--sample",
        dest="sample_ids",
        action="append",
        default=[],
        metavar="ID",
        help="a sample_id of the dataset; repeatable",
    )
    parser.add_argument(
        "--per-track", type=int, metavar="N", help="this many samples of every track, evenly spread"
    )
