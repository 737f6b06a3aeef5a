"""The command `settings`: what can be changed with `--set`, and why each value is what it is."""

from __future__ import annotations

import argparse

from pipeline.commands.arguments import PRESETS, settings_from
from pipeline.config import Settings
from schemas.command_line import Commands, add_settings
from schemas.errors import SettingsError

STUDIO = "studio"


def add_to(commands: Commands) -> None:
    """Adds the command."""
    settings = commands.add(
        "settings",
        "list all settings with type, unit, default and reason",
        about="With --preset or --set: only the settings that then differ from the default.",
        examples=["", "pairs", "pairs.max_references", "--preset released", "--json"],
    )
    settings.add_argument(
        "section",
        nargs="?",
        metavar="SECTION",
        help=f"a section, a single setting, or `{STUDIO}` (default: all)",
    )
    settings.add_argument("--json", action="store_true", help="print a JSON list instead")
    add_settings(settings, PRESETS, default=None)
    settings.set_defaults(command=_settings)


def _settings(options: argparse.Namespace) -> int:
    from schemas.setting_list import printed_settings

    is_changed = options.preset is not None or bool(options.overrides)
    if options.section != STUDIO:
        changed = settings_from(options) if is_changed else None
        print(printed_settings(Settings(), changed, options.section, as_json=options.json))
        return 0
    from pipeline.studio.settings import StudioSettings

    if is_changed:
        raise SettingsError(
            "--preset and --set change settings of the pipeline, and the studio's are others.",
            remedy="Leave them out.",
        )
    print(printed_settings(StudioSettings(), None, None, as_json=options.json))
    return 0
