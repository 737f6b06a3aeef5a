"""`python -m trainer tracknet fit | convert | export`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from schemas.command_line import Commands, add_settings
from schemas.escaping import shown
from schemas.places import made_parent, plain_file_to_write, plain_folder_to_write
from trainer.arguments import add_device

PRESETS = ("hmr", "paper", "small")
PICTURES = (".jpg", ".jpeg", ".png")


def add_to(commands: Commands) -> None:
    """Adds the command and its actions."""
    actions = commands.add_family(
        "tracknet", "train, convert or export the network that finds a body in a picture"
    )
    _add_fit(actions)
    convert = actions.add(
        "convert",
        "make a checkpoint folder from a PyTorch file of SPIN, HMR or mmhuman3d",
        about="The file is read as data: nothing in it is run.",
        examples=["spin.pt --out spin --mean smpl_mean_params.npz"],
    )
    convert.add_argument("file", metavar="FILE", help="a .pt file")
    convert.add_argument(
        "--out", type=plain_folder_to_write, required=True, metavar="CHECKPOINT", help="checkpoint folder"
    )
    convert.add_argument(
        "--mean",
        metavar="FILE",
        help="smpl_mean_params.npz, for files without init_pose, init_shape and init_cam",
    )
    convert.add_argument(
        "--family",
        choices=("spin", "hmr"),
        help="architecture: the regressor of `hmr` has ReLUs, that of `spin` none (default: inferred from the file)",
    )
    add_settings(convert, PRESETS, default="hmr")
    convert.set_defaults(command=_convert)

    export = actions.add(
        "export",
        "write the file that the pipeline's tracking.tracker=network runs",
        examples=["--checkpoint tuned --out tracknet.onnx"],
    )
    export.add_argument("--checkpoint", required=True, metavar="FOLDER", help="checkpoint folder")
    export.add_argument(
        "--out", type=plain_file_to_write, required=True, metavar="FILE", help="NAME.onnx or NAME.pt2"
    )
    export.set_defaults(command=_export)


def _add_fit(actions: Commands) -> None:
    fit = actions.add(
        "fit",
        "train or fine-tune on pictures with bodies",
        examples=["portraits.parquet --body body.npz --out tracknet --preset small"],
    )
    fit.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURES",
        help="Parquet files of the table `portraits`, or datasets (their `samples`)",
    )
    fit.add_argument(
        "--body",
        required=True,
        metavar="FILE",
        help="the body model of their vectors, as `python -m pipeline body export` writes it",
    )
    fit.add_argument(
        "--out", type=plain_folder_to_write, required=True, metavar="CHECKPOINT", help="checkpoint folder"
    )
    fit.add_argument(
        "--validate-on",
        nargs="+",
        default=[],
        metavar="PICTURES",
        help="pictures to validate on, instead of a share of the first",
    )
    fit.add_argument("--backgrounds", metavar="FOLDER", help="pictures to put behind people")
    fit.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    fit.add_argument(
        "--from",
        dest="start_from",
        metavar="CHECKPOINT",
        help="start a new run from the weights and network settings of this checkpoint",
    )
    add_device(fit)
    add_settings(fit, PRESETS, default="hmr")
    fit.set_defaults(command=_fit)


def _settings(options: argparse.Namespace, network: Any = None) -> Any:
    """The preset, with the network of a checkpoint or file where one is given, and the overrides."""
    from dataclasses import replace

    from schemas.settings import with_overrides
    from trainer.tracknet.config import tracknet_preset

    settings = tracknet_preset(options.preset)
    return with_overrides(
        settings if network is None else replace(settings, network=network), options.overrides
    )


def _fit(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError
    from trainer.tracknet.checkpoint import load_tracknet
    from trainer.tracknet.train import fit_tracknet

    if options.resume and options.start_from:
        raise SettingsError("--resume and --from cannot be combined.", remedy="Leave one of them out.")
    backgrounds: list[Path] = []
    if options.backgrounds:
        folder = Path(options.backgrounds)
        backgrounds = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)
        if not backgrounds:
            raise SettingsError(
                f"--backgrounds {folder} holds no pictures.", remedy="Give JPEG or PNG files."
            )
    given = options.out if options.resume else options.start_from
    fit_tracknet(
        options.pictures,
        options.out,
        _settings(options, load_tracknet(given).settings.network if given else None),
        options.body,
        held_out_roots=options.validate_on,
        backgrounds=backgrounds,
        resume=options.resume,
        start_from=options.start_from,
        device=options.device,
    )
    print(f"wrote {shown(options.out)}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from trainer.tracknet.checkpoint import save_tracknet
    from trainer.tracknet.foreign_checkpoint import ForeignWeights, load_foreign

    weights = ForeignWeights.read(options.file, options.family)
    settings = _settings(options, weights.settings(_settings(options).network))
    network = settings.network
    model, report = load_foreign(weights, network, options.mean)
    print("\n".join(report.lines()))
    save_tracknet(Path(options.out), model, None, settings, 0, {})
    print(
        f"wrote {shown(options.out)}: family {weights.family}, {network.rotation_form}, activation of the regressor "
        f"{network.regressor_activation}, scaling {network.scaling}"
    )
    return 0


def _export(options: argparse.Namespace) -> int:
    from schemas.errors import SettingsError
    from trainer.tracknet.checkpoint import load_tracknet
    from trainer.tracknet.export import export_tracknet_onnx, export_tracknet_torch

    path = Path(options.out)
    makers = {".onnx": export_tracknet_onnx, ".pt2": export_tracknet_torch}
    if path.suffix not in makers:
        raise SettingsError(f"--out {path} does not end in .onnx or .pt2.", remedy="Give a name that does.")
    difference = makers[path.suffix](load_tracknet(options.checkpoint), made_parent(path))
    print(f"wrote {shown(path)}; it differs from the network by at most {difference:.2g}")
    return 0
