"""The command `dataset verify | merge | compact | forget | dressed | clothes | columns`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.commands.arguments import add_dataset
from schemas.command_line import Commands
from schemas.errors import SettingsError
from schemas.escaping import shown
from schemas.places import file_to_write, folder_to_write, plain_path


def add_to(commands: Commands) -> None:
    """Adds the command and its actions."""
    actions = commands.add_family("dataset", "verify, merge, compact or describe datasets; forget a source")
    _add_verify(actions)
    _add_merge(actions)

    compact = actions.add(
        "compact",
        "merge small files: the same rows in fewer files",
        about="The content hash stays. A run into the folder goes on as before.",
        examples=["DATASET", "DATASET --megabytes 512"],
    )
    add_dataset(compact)
    compact.add_argument(
        "--megabytes", type=float, default=256, metavar="MB", help="size of a file (default: 256)"
    )
    compact.set_defaults(command=_compact)

    forget = actions.add(
        "forget",
        "remove every row of a source for good",
        about="Later runs into the folder leave the source out too. This cannot be undone.",
        examples=["DATASET --source dQw4w9WgXcQ"],
    )
    add_dataset(forget)
    forget.add_argument("--source", required=True, metavar="ID", help="the `source_id` of its rows")
    forget.set_defaults(command=_forget)

    dressed = actions.add(
        "dressed",
        "write the depth of the tracks' dressed shapes, for a network to learn",
        about="For every sample of a refined track the depth of its skin moved by the offset that all frames of the "
        "track share (table `surfaces`), expected as that of all people of the dataset, and how sure that is: for "
        "`python -m trainer fit --dressed`.",
        examples=["DATASET --out dressed"],
    )
    add_dataset(dressed)
    dressed.add_argument(
        "--out", type=folder_to_write, required=True, metavar="FOLDER", help="where one .npz per sample goes"
    )
    dressed.add_argument(
        "--spread-m",
        type=float,
        default=0.007,
        metavar="M",
        help="standard deviation of a person's offset about that of all people (default: 0.007)",
    )
    _add_contrast(dressed)
    dressed.set_defaults(command=_dressed)

    clothes = actions.add(
        "clothes",
        "write what its people wear on the mean, to render base depth from",
        about="The mean over all refined tracks of how far the surface lies off the skin (table `surfaces`), at every "
        "vertex of the body: for the setting `rendering.clothes`, of runs and of photos.",
        examples=["DATASET --out clothes.npz"],
    )
    add_dataset(clothes)
    clothes.add_argument("--out", type=file_to_write, required=True, metavar="NPZ", help="the file to write")
    _add_contrast(clothes)
    clothes.set_defaults(command=_clothes)

    columns = actions.add("columns", "print all tables and columns as Markdown")
    columns.set_defaults(command=_columns)


def _add_contrast(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--contrast",
        type=float,
        default=1.5,
        metavar="RATIO",
        help="times that an offset's distance from its mean counts (default: 1.5)",
    )


def _add_verify(actions: Commands) -> None:
    verify = actions.add(
        "verify",
        "check every file, column and reference, and render some rows again",
        examples=["DATASET", "DATASET --render 100"],
    )
    add_dataset(verify)
    verify.add_argument(
        "--render", type=int, default=8, metavar="N", help="samples to render again (default: 8; 0: none)"
    )
    verify.add_argument(
        "--selection",
        metavar="NAME",
        help="also check what a saved selection keeps, and render samples of it again",
    )
    verify.set_defaults(command=_verify)


def _add_merge(actions: Commands) -> None:
    merge = actions.add(
        "merge",
        "join datasets, for example those of the shards of a run",
        about="They must have been made with the same settings, of different clips. Their files are hard-linked "
        "where the file system can, else copied, and the result is verified. Killed, the same command goes on.",
        examples=["part-0 part-1 part-2 --out dataset", "parts/* --out dataset --move"],
    )
    merge.add_argument(
        "datasets", nargs="+", type=plain_path, metavar="DATASET", help="dataset folders that `run` made"
    )
    merge.add_argument(
        "--out", type=plain_path, required=True, metavar="DATASET", help="the folder of the joined dataset"
    )
    merge.add_argument("--move", action="store_true", help="delete the datasets once the joined one is there")
    merge.add_argument(
        "--allow-missing", action="store_true", help="join although shards of the clips are missing"
    )
    merge.set_defaults(command=_merge)


def _merge(options: argparse.Namespace) -> int:
    from pipeline.runner.merging import merge

    done = merge(options.datasets, options.out, move=options.move, allow_missing=options.allow_missing)
    how = (
        "merged before"
        if done.placed is None
        else f"{done.placed.linked} files linked, {done.placed.copied} copied"
    )
    print(f"{shown(options.out)}: {done.units} units, content hash {done.content_hash}; {how}")
    if done.units_left_out:
        print(f"{done.units_left_out} unit(s) left out: one of the datasets has forgotten their source")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from pipeline.dataset.verification import verify

    if options.render < 0:
        raise SettingsError(f"--render cannot be {options.render}.", remedy="Give 0 or more samples.")
    checked = verify(options.dataset, render=options.render, selection=options.selection)
    for problem in checked.problems:
        print(f"error: {shown(problem)}", file=sys.stderr)
    if not checked.problems:
        print(f"{shown(options.dataset)}: {checked.units} units, content hash {checked.content_hash}")
        if options.selection:
            print(
                f"selection {options.selection}: keeps {checked.samples} samples with {checked.references} references"
            )
        print(f"{checked.rendered} of {checked.samples} samples rendered again: {checked.render_note}")
    return 1 if checked.problems else 0


def _compact(options: argparse.Namespace) -> int:
    from pipeline.dataset.compaction import compact_dataset

    if not options.megabytes > 0:
        raise SettingsError(f"--megabytes cannot be {options.megabytes:g}.", remedy="Give a size above 0.")
    done = compact_dataset(options.dataset, int(options.megabytes * 2**20))
    print(
        f"{shown(options.dataset)}: {done.files_before} files before, {done.files_after} now, the same rows"
    )
    return 0


def _forget(options: argparse.Namespace) -> int:
    from pipeline.dataset.forgetting import forget

    units = forget(options.dataset, options.source)
    print(f"{shown(options.dataset)}: removed {units} unit(s) of source {shown(options.source)}")
    return 0


def _dressed(options: argparse.Namespace) -> int:
    from pipeline.dataset.dressed_depths import DressedSettings, dressed_depths
    from schemas.dataset import Dataset
    from schemas.prediction import prediction_path

    dataset, out, count = Dataset.open(options.dataset), Path(options.out), 0
    dressing = DressedSettings(spread_m=options.spread_m, contrast=options.contrast)
    for sample_id, depth in dressed_depths(dataset, dressing):
        count += 1
        depth.save(prediction_path(out, sample_id))
    print(f"wrote the dressed depth of {count} of {dataset.row_count('samples')} sample(s) into {shown(out)}")
    return 0


def _clothes(options: argparse.Namespace) -> int:
    from pipeline.dataset.dressed_depths import DressedSettings, mean_clothes
    from schemas.dataset import Dataset

    clothes = mean_clothes(Dataset.open(options.dataset), DressedSettings(contrast=options.contrast))
    clothes.save(Path(options.out))
    mean_mm = 1000 * clothes.offset_m.mean()
    print(
        f"wrote {shown(options.out)}: {mean_mm:.1f} mm outside the skin on the mean, learned from {clothes.tracks} "
        f"track(s); use it with --set rendering.clothes={shown(options.out)}"
    )
    if mean_mm <= 0:
        print(
            "warning: clothes are never inside. Expect them outside before their mean is taken: run with --set "
            "refine.offset_mean_m=0.01 --set refine.offset_sigma_m=0.01 --set 'refine.offset_range_m=[0,0.08]'",
            file=sys.stderr,
        )
    return 0


def _columns(options: argparse.Namespace) -> int:
    from pipeline.dataset.card import column_tables

    print(column_tables())
    return 0
