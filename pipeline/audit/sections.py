"""The page's sections that stand without a script: warnings, funnel, tables and pictures. Every text is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.audit import pictures
from pipeline.audit.baselines import SHARES
from pipeline.audit.figures import AuditFigures
from pipeline.audit.showcase import CARD_COLUMNS, Card, Overlay

_SHOWN_ROWS = 300
_KINDS = {"source_id": "source", "track_id": "track", "mean_baseline_m": "mean baseline, m",
          "valid_fraction": "valid share"}  # fmt: skip
_LEVEL_WORDS = {"fault": "Fault", "warning": "Warning", "note": "Note"}


def warnings_section(figures: AuditFigures) -> str:
    """Findings as a list, worst first."""
    if not figures.findings:
        return "<p>Nothing stands out.</p>"
    items = "".join(
        f'<li class="{item.level}"><strong>{_LEVEL_WORDS[item.level]}.</strong> {escaped(item.text)} '
        f"<span class=remedy>{escaped(item.remedy)}</span></li>"
        for item in figures.findings
    )
    return f'<ol class="findings">{items}</ol>'


def funnel_section(figures: AuditFigures, cards: Sequence[Card]) -> str:
    """Stages with their losses; a reason links to the pairs that are drawn."""
    drawn: dict[str, str] = {}
    for card in cards:
        drawn.setdefault(card.reason, f"pair-{card.row}")
    parts = []
    for stage in figures.funnel:
        losses = "".join(_loss_item(loss, drawn) for loss in stage.losses)
        parts.append(
            f"<tr><th scope=row>{escaped(stage.name)}</th><td class=number>{stage.count:,}</td>"
            f"<td>{f'<ul class=losses>{losses}</ul>' if losses else ''}</td></tr>"
        )
    return _plain_table("From clips to samples", ("stage", "count", "lost here, and why"), parts) + (
        "<p>To see any frame or pair that is named here: <code>python -m pipeline show pair DATASET TRACK/FRAME "
        "--reference FRAME --out pair.png</code></p>"
    )


def groups_section(figures: AuditFigures) -> str:
    """Per source, sortable."""
    rows = [
        (
            row.source_id,
            row.clips,
            row.frames,
            row.frames_kept,
            row.pairs,
            row.pairs_kept,
            row.samples,
            row.median_baseline_m,
            row.median_iou,
            row.median_reprojection_error,
            row.median_photo_error,
            row.median_depth_m,
            row.field_of_view_deg,
        )
        for row in figures.sources
    ]
    headings = ("source", "clips", "frames", "frames kept", "pairs", "pairs kept", "samples", "median baseline, m",
                "median IoU", "median 2-D error", "median colour error", "median depth, m",
                "field of view, deg")  # fmt: skip
    return table("Sources", headings, rows)


def spread_section(figures: AuditFigures) -> str:
    """Percentiles by frame gap, for those who want numbers."""
    headings = ("gap, frames", "pairs", "kept", *(f"baseline {share} %, m" for share in SHARES), "median angle, deg",
                "median parallax, px", "median |t|/Z")  # fmt: skip
    rows = [
        (
            int(group.name),
            group.pairs,
            group.kept,
            *(group.spread["mean_baseline_m"].get(str(share)) for share in SHARES),
            *(group.spread[name].get("50") for name in ("angle_deg", "parallax_px", "baseline_over_depth")),
        )
        for group in figures.by_gap
    ]
    return table("By frame gap", headings, rows)


def focal_section(figures: AuditFigures) -> str:
    """The thresholds under other focal lengths."""
    threshold = figures.thresholds["min_mean_baseline_m"]
    rows = [
        (row.factor, row.median_baseline_m, row.above_threshold, row.kept_still, row.same_pairs_m)
        for row in figures.focal_assumptions
    ]
    headings = (
        "focal length, times the assumed",
        "median baseline of kept pairs, m",
        f"pairs tried at or above {threshold:g} m",
        f"kept pairs at or above {threshold:g} m",
        "threshold that chooses the same pairs, m",
    )
    return table("Other assumptions about the focal length", headings, rows)


def noise_section(figures: AuditFigures) -> str:
    """Kept pairs from calm to restless bodies."""
    rows = [
        (
            f"{band.acceleration_mm[0]:.1f} to {band.acceleration_mm[1]:.1f}",
            band.pairs,
            band.median_baseline_m,
            band.median_noise_m,
            band.within_noise,
            band.median_iou,
        )
        for band in figures.noise_bands
    ]
    headings = ("acceleration, mm", "kept pairs", "median baseline, m", "baseline from noise alone, m",
                "kept only by noise", "median IoU")  # fmt: skip
    return table("Jitter of bodies against baseline", headings, rows)


def people_section(figures: AuditFigures) -> str:
    """Per track, sortable."""
    headings = ("track", "frames", "kept", "2-D error", "IoU", "pairs", "kept pairs", "samples")
    rows = [
        (item.track_id, item.frames, item.frames_kept, item.mean_reprojection_error, item.mean_silhouette_iou,
         item.pairs, item.pairs_kept, item.samples)
        for item in figures.tracks
    ]  # fmt: skip
    return table("People", headings, rows)


def origin_section(figures: AuditFigures) -> str:
    """Licences, duplicates, splits, failures, and a training's losses."""
    parts = [
        table("Licences", ("licence", "sources", "which"),
              [(name, len(items), ", ".join(items[:20])) for name, items in figures.licences.items()]),
        table("Duplicates", ("how", "clips", "sources", "splits"),
              [(item.how, ", ".join(item.members), ", ".join(item.sources), ", ".join(item.splits) or "not recorded")
               for item in figures.duplicates]) if figures.duplicates else "<p>No duplicate clips were found.</p>",
    ]  # fmt: skip
    if figures.people_compared is not None:
        compared, people = figures.people_compared
        parts.append(
            f"<p>Files were compared by their bytes, and pictures of {compared:,} of {people:,} people.</p>"
        )
    if figures.splits.recorded:
        parts.append(table("Splits", ("split", "sources"), list(figures.splits.counts.items())))
        several = figures.splits.in_several
        parts.append(
            f"<p>{len(several)} source(s) are in more than one split"
            + (": " + escaped(", ".join(several)) if several else "")
            + ".</p>"
        )
    else:
        parts.append(
            "<p>No splits are recorded. Training holds sources out by a hash of their ids; a file given with "
            "<code>--splits</code> is checked here.</p>"
        )
    if figures.failures:
        parts.append(table("Failures", ("reason", "count"), list(figures.failures.items())))
    if figures.training is not None:
        rows = [
            (
                _KINDS[row.by],
                row.group,
                row.photo,
                row.gradient_norm,
                row.samples,
                row.seen,
                row.median_baseline_m,
            )
            for row in figures.training
        ]
        headings = ("by", "group", "mean photometric loss", "mean gradient", "samples", "times seen",
                    "median baseline of kept pairs, m")  # fmt: skip
        parts.append(table("Where the training's losses are high", headings, rows))
    return "".join(parts)


def sides_section(figures: AuditFigures) -> str:
    """The comparison of datasets and views."""
    rows = [
        (
            side.name,
            side.pairs_tried,
            side.pairs_kept,
            side.samples,
            side.sources,
            side.references_per_sample,
            *(side.baseline_m.get(str(share)) for share in (10, 50, 90)),
            side.rotation_deg.get("50"),
            side.valid_fraction.get("50"),
            side.mean_photo_error,
            " and ".join(filter(None, (side.pairs, side.samples_where and f"samples: {side.samples_where}"))),
        )
        for side in figures.sides
    ]
    headings = ("what", "pairs tried", "pairs kept", "samples", "sources", "references a sample", "baseline 10 %, m",
                "baseline 50 %, m", "baseline 90 %, m", "median rotation, deg", "median valid share",
                "mean colour error", "filter")  # fmt: skip
    return table("Side by side", headings, rows)


def gallery_section(cards: Sequence[Card]) -> str:
    """One article a pair; the script sorts them and says what the sliders would do with them."""
    if not cards:
        return "<p>No pictures: no pair's target is stored, or --pictures was 0.</p>"
    key = "".join(
        f'<li><i style="background:rgb{colour}"></i>{escaped(name)}</li>'
        for name, colour in pictures.VALIDITY_COLOURS.items()
    )
    options = "".join(
        f'<option value="{name}">{escaped(words)}</option>' for name, (words, _) in CARD_COLUMNS.items()
    )
    controls = (
        '<div class="controls"><label>Sort by <select id="sort-by"><option value="">kind</option>'
        f'{options}</select></label> <label><input type="checkbox" id="sort-down"> largest first</label> '
        '<label>Show <select id="show-kind"><option value="">all</option><option>borderline</option>'
        "<option>kept</option><option>dropped</option></select></label> "
        '<label>that <select id="show-now"><option value="">pass or not</option>'
        '<option value="yes">pass the sliders</option><option value="no">do not pass</option></select></label></div>'
    )
    articles = "".join(_card(card) for card in cards)
    colours = f'<ul class="key" aria-label="Colours of the validity pictures">{key}</ul>'
    return f'{colours}{controls}<div id="cards">{articles}</div>'


def overlays_section(overlays: Sequence[Overlay]) -> str:
    """Worst and median frames, by what they are worst or median in."""
    parts = []
    for kind in dict.fromkeys(item.kind for item in overlays):
        figures = "".join(
            _figure(
                item.picture,
                f"IoU {item.silhouette_iou:.3f}, 2-D error {100 * item.reprojection_error:.2f} %, "
                f"{item.track_id}, frame {item.frame_index}",
                f"body on the picture, {kind}",
            )
            for item in overlays
            if item.kind == kind
        )
        parts.append(f'<h3>{escaped(kind[0].upper() + kind[1:])}</h3><div class="panels">{figures}</div>')
    return "".join(parts) or "<p>No frame has a stored picture.</p>"


def table(caption: str, headings: Sequence[str], rows: Sequence[Iterable[Any]]) -> str:
    """A table the script can sort by any column; the JSON holds the rows that do not fit."""
    head = "".join(
        f'<th scope=col><button type="button" class="sort">{escaped(heading)}</button></th>'
        for heading in headings
    )
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows[:_SHOWN_ROWS])
    more = f"<p>{len(rows) - _SHOWN_ROWS} more rows are in the JSON.</p>" if len(rows) > _SHOWN_ROWS else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}"><table class="sortable">'
        f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def _plain_table(caption: str, headings: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{escaped(heading)}</th>" for heading in headings)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}"><table class="funnel">'
        f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _loss_item(loss: Any, drawn: dict[str, str]) -> str:
    examples = "; ".join(loss.examples)
    link = f' <a href="#{drawn[loss.reason]}">see one</a>' if loss.reason in drawn else ""
    return (
        f"<li><b>{loss.count:,}</b> ({100 * loss.share:.1f} %) {escaped(loss.reason)}: {escaped(loss.meaning)}{link}"
        f"<details><summary>examples</summary>{escaped(examples)}</details></li>"
    )


def _card(card: Card) -> str:
    data = "".join(f' data-{name.replace("_", "-")}="{value!r}"' for name, value in card.numbers.items())
    name = f"{card.track_id}, frame {card.target_frame} to {card.reference_frame}"
    figures = "".join(_figure(uri, caption, name) for caption, uri in card.panels)
    numbers = ", ".join(
        f"{words} {value:.3g} {unit}".strip()
        for (words, unit), value in zip(CARD_COLUMNS.values(), card.numbers.values())
        if value == value  # NaN: not known
    )
    missing = (
        ""
        if len(card.panels) > 4
        else "<p class=remedy>Dropped pairs have no stored maps; what is stored of their frames is shown.</p>"
    )
    reason = f"dropped: {escaped(card.reason)}" if card.reason else "kept"
    kind = "borderline, " if card.kind == "borderline" else ""
    return (
        f'<article class="card" id="pair-{card.row}" data-kind="{card.kind}"{data}><h3>{escaped(card.track_id)}: frame '
        f"{card.target_frame} to {card.reference_frame}</h3><p>{kind}{reason}; <span class=now></span></p>"
        f'<div class="panels">{figures}</div>{missing}<p class="numbers">{numbers}</p></article>'
    )


def _figure(uri: str, caption: str, of: str = "") -> str:
    """`of` is what a listener needs to tell this picture from others with the same caption."""
    words = escaped(caption)
    heard = f"{words}: {escaped(of)}" if of else words
    return f'<figure><img loading="lazy" alt="{heard}" src="{uri}"><figcaption>{words}</figcaption></figure>'


def _cell(value: Any) -> str:
    if value is None or value != value:
        return '<td class="number" data-value="">-</td>'
    if isinstance(value, int):
        return f'<td class="number" data-value="{value}">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number" data-value="{value!r}">{value:.4g}</td>'
    return f'<td data-value="{escaped(value)}">{escaped(value)}</td>'


def escaped(value: object) -> str:
    """Any text as HTML that shows it, quotes included."""
    return html.escape(str(value))
