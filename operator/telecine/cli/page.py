"""Search results as one page: thumbnails, reasons, and media that play at the right second.

The page is whole in itself (no script, no style or picture from elsewhere) but for the media,
whose links may be signed: it is for the one who asked.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit
from uuid import UUID

from telecine.execution.search import passage
from telecine.index.fusion import Moment
from telecine.planning.mimes import guess_mime

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --mark: #d97706; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 2rem 1rem; }
h1 { font-size: 1.3rem; font-weight: 600; margin: 0 0 1.5rem; }
h1 small { color: var(--dim); font-weight: 400; }
article { display: grid; grid-template-columns: minmax(0, 20rem) minmax(0, 1fr); gap: 1.25rem;
  border-top: 1px solid var(--line); padding: 1.25rem 0; }
article > :only-child { grid-column: 1 / -1; }
video, audio, img { width: 100%; border-radius: 6px; background: #0002; display: block; }
video { max-height: 15rem; }
h2 { font-size: 1rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 a { color: inherit; }
time { color: var(--mark); font-variant-numeric: tabular-nums; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
.why, dl { color: var(--dim); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .75rem; margin: .5rem 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { article { grid-template-columns: 1fr; } }
"""
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: http: https: file:; "
    "media-src http: https: file:"
)


def clock(seconds: float) -> str:
    """75.3 -> 1:15; with hours where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def page(title: str, moments: Sequence[Moment], links: Mapping[UUID, str]) -> str:
    """The page; `links` are URLs of the media by object."""
    count = f"{len(moments)} result{'' if len(moments) == 1 else 's'}"
    body = "\n".join(_article(m, links.get(m.hit.object_id)) for m in moments)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<h1>{html.escape(title)} <small>{count}</small></h1>
{body or "<p>Nothing found.</p>"}
</html>
"""


def _article(moment: Moment, link: str | None) -> str:
    hit, time = moment.hit, moment.time
    link = link if link and urlsplit(link).scheme in {"http", "https", "file"} else None
    name = html.escape(f"{hit.bucket}/{hit.path}")
    target = html.escape(_at(link, time), quote=True) if link else ""
    heading = f'<a href="{target}">{name}</a>' if link else name
    at = f" <time>{clock(time)}</time>" if time is not None else ""
    text = html.escape(" ".join(passage(moment).split())[:1200])
    why = html.escape("; ".join(reason.told() for reason in moment.reasons))
    facts = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in hit.source_metadata.items()
    )
    return f"""<article>
{_medium(moment, target)}
<div>
<h2>{heading}{at}</h2>
<p>{text}</p>
<p class="why">{moment.score:.3f} · {why}</p>
<dl>{facts}</dl>
</div>
</article>"""


def _at(link: str, time: float | None) -> str:
    """The link with a media fragment (W3C Media Fragments URI 1.0): playing begins there."""
    return link if not time else f"{link}#t={time:.1f}"


def _medium(moment: Moment, target: str) -> str:
    """A player or picture; nothing for texts. `target` is escaped."""
    hit = moment.hit
    thumbnail = next((t for d in moment.documents if (t := d.properties.get("thumbnail"))), "")
    poster = (
        f"data:image/jpeg;base64,{html.escape(str(thumbnail), quote=True)}" if thumbnail else ""
    )
    kind = (guess_mime(hit.path) or "").partition("/")[0]
    told = hit.properties.get("kind")
    if told in {"frame", "segment", "whole"} and target:
        if kind == "audio":
            return f'<audio controls preload="metadata" src="{target}"></audio>'
        shown = f' poster="{poster}"' if poster else ""
        return f'<video controls preload="metadata" src="{target}"{shown}></video>'
    if poster:
        return f'<img src="{poster}" alt="">'
    if told == "picture" and target:
        return f'<img src="{target}" alt="" loading="lazy">'
    return ""
