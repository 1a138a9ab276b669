"""The chart: one bar for each peer in each job, as long as the runner takes beside it; a tick where it is to end."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.results import Ratio

_WIDTH, _LEFT, _RIGHT = 920, 330, 90
_ROW, _BAR, _TITLE = 24, 14, 34
_MET, _MISSED, _FREE = "#2e8b57", "#c77d0a", "#5b7fa6"
_STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2933}"
    ".t{font-weight:600}.s{fill:#5f6c7b;font-size:12px}.g{stroke:#d5dbe1;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e7eb}.s{fill:#9aa5b1}.g{stroke:#3e4c59}.p{fill:#12181f}}"
)


def chart(ratios: Sequence[Ratio], most: float = 1.5) -> str:
    """SVG. Bars longer than `most` end there and say their number; ratios of other kinds belong in another chart."""
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    pieces: list[str] = []
    y, title = 56, ""
    for one in ratios:
        if one.title != title:
            title = one.title
            y += 12
            pieces.append(f'<text class="t" x="16" y="{y + 14}">{escape(title)}</text>')
            y += _TITLE - 10
        length = min(one.value, most) * scale
        colour = _FREE if one.target is None else _MET if one.met else _MISSED
        middle = y + _BAR - 2
        pieces.append(f'<text x="{_LEFT - 12}" y="{middle}" text-anchor="end">{escape(one.label)}</text>')
        pieces.append(
            f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>'
        )
        if one.target is not None:
            tick = _LEFT + min(one.target, most) * scale
            pieces.append(
                f'<line x1="{tick:.1f}" x2="{tick:.1f}" y1="{y - 3}" y2="{y + _BAR + 3}" stroke="#c0392b" '
                'stroke-width="2"/>'
            )
        beside = _LEFT + max(length, 0 if one.target is None else min(one.target, most) * scale) + 8
        pieces.append(f'<text x="{beside:.1f}" y="{middle}">{one.value:.2f}</text>')
        y += _ROW
    height = y + 40
    grid = "".join(
        f'<line class="g" x1="{_LEFT + mark * scale:.1f}" x2="{_LEFT + mark * scale:.1f}" y1="50" y2="{height - 34}"/>'
        f'<text class="s" x="{_LEFT + mark * scale:.1f}" y="{height - 16}" text-anchor="middle">{label}</text>'
        for mark, label in ((0.0, "0"), (0.5, "half"), (1.0, "as long as the peer"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'role="img" aria-label="Time of sync-runner beside its peers">'
        f'<style>{_STYLE}</style><rect class="p" width="{_WIDTH}" height="{height}" fill="#fff"/>'
        '<text class="t" x="16" y="28" style="font-size:16px">Time of sync-runner beside its peers</text>'
        '<text class="s" x="16" y="46">Shorter is faster. Red mark: the aim; green: reached, amber: not reached.</text>'
        f"{grid}{''.join(pieces)}</svg>\n"
    )
