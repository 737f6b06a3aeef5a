"""`python -m trainer tracknet fit | convert | export`: arguments to settings, nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from schemas.escaping import shown
from schemas.places import made_parent, plain_file_to_write, plain_folder_to_write

PICTURES = (".jpg", ".jpeg", ".png")


def add_commands(commands: Any) -> None:
    """Adds `tracknet` with its own commands to argparse's subparsers."""
    tracknet = commands.add_parser("tracknet", help="the network that finds a body in a picture")
    actions = tracknet.add_subparsers(title="actions", required=True, metavar="ACTION")

    fit = actions.add_parser("fit", help="train or fine-tune on pictures with bodies")
    fit.add_argument(
        "pictures", nargs="+", help="Parquet files of `portraits`, or datasets (their `samples`)"
    )
    fit.add_argument(
        "--body",
        metavar="FILE",
        required=True,
        help="body file that the vectors belong to (`python -m pipeline body export`)",
    )
    fit.add_argument(
        "--out", metavar="PATH", type=plain_folder_to_write, required=True, help="checkpoint folder"
    )
    fit.add_argument(
        "--validate-on",
        metavar="PATH",
        nargs="+",
        default=[],
        help="pictures to validate on, instead of a share of the first",
    )
    fit.add_argument("--backgrounds", metavar="FOLDER", help="folder of pictures to put behind people")
    fit.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    fit.add_argument(
        "--from",
        dest="start_from",
        metavar="CHECKPOINT",
        help="start a new run from its weights and network settings",
    )
    fit.add_argument("--device", help="cpu, cuda, ... (default: a GPU where there is one)")
    _add_settings(fit)
    fit.set_defaults(command=_fit)

    convert = actions.add_parser(
        "convert", help="make a checkpoint folder of a PyTorch file of SPIN, HMR or mmhuman3d"
    )
    convert.add_argument("file", help="a .pt file; it is read as data, nothing in it is run")
    convert.add_argument(
        "--out", metavar="PATH", type=plain_folder_to_write, required=True, help="checkpoint folder"
    )
    convert.add_argument(
        "--mean",
        metavar="FILE",
        help="smpl_mean_params.npz, for files without init_pose, init_shape, init_cam",
    )
    convert.add_argument(
        "--family",
        choices=("spin", "hmr"),
        help="architecture: `spin` has no ReLU in the regressor, `hmr` has (default: inferred from the file)",
    )
    _add_settings(convert)
    convert.set_defaults(command=_convert)

    export = actions.add_parser("export", help="write the file that tracking.tracker=network runs")
    export.add_argument("--checkpoint", metavar="FOLDER", required=True)
    export.add_argument(
        "--out", metavar="PATH", type=plain_file_to_write, required=True, help="NAME.onnx or NAME.pt2"
    )
    export.set_defaults(command=_export)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="NAME", default="hmr", help="`hmr` (default, ResNet-50), `paper` or `small`"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="SECTION.FIELD=VALUE",
        action="append",
        default=[],
        help="change a setting; repeatable",
    )


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
        raise SettingsError("--resume and --from cannot be combined.", remedy="Give one of them.")
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
        raise SettingsError(f"--out {path} ends in neither .onnx nor .pt2.", remedy="Give one of the two.")
    difference = makers[path.suffix](load_tracknet(options.checkpoint), made_parent(path))
    print(f"wrote {shown(path)}; it differs from the network by at most {difference:.2g}")
    return 0
