"""The page as one file that needs no server: its scripts and styles inlined, with every answer that it may ask for."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from bertsmith.errors import Refusal
from bertsmith.files import atomic_file
from bertsmith.inspection.export_requests import all_questions
from bertsmith.inspection.gallery import Gallery, Models
from bertsmith.inspection.page_files import page_files
from bertsmith.inspection.requests import checked
from bertsmith.inspection.views import VIEWS, as_json
from bertsmith.progress import SILENT, Progress

_MOST_CHECKPOINTS = 12
_SCRIPT = re.compile(r'<script src="([\w.-]+)"></script>')
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.-]+)">')


def export(gallery: Gallery, path: Path, progress: Progress = SILENT) -> None:
    """Write the page with all answers about the gallery's text to ``path``, whole or not at all.

    Raises:
        Refusal: the text cannot be read, e.g. because it is empty or too long.
        StorageError: the disk is full or refuses.
    """
    html = exported(gallery, progress)
    with atomic_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def exported(gallery: Gallery, progress: Progress = SILENT) -> str:
    """Return the page with all answers about the gallery's text; errors as for :func:`export`."""
    gallery = gallery.thinned(_MOST_CHECKPOINTS)
    questions = all_questions(gallery)
    entries = []
    with progress.task("Preparing", len(questions), "answers") as shown:
        for name, values in questions:
            request = checked(VIEWS[name].request, values)
            try:
                answer = VIEWS[name].ask(gallery, request).decode()
            except Refusal as refusal:
                answer = json.dumps(refusal.as_json(), ensure_ascii=False)
            entries.append(f"{json.dumps(f'{name} {request.key}', ensure_ascii=False)}:{answer}")
            shown.advance(1)
    models = as_json(Models, gallery.describe(is_export=True)).decode()
    return inlined(page_files(), f'{{"models":{models},"answers":{{{",".join(entries)}}}}}')


def inlined(files: Mapping[str, str], data: str) -> str:
    """Return ``index.html`` with what it refers to, and JSON data, inside; it runs no script but those, and loads nothing."""
    html = files["index.html"]
    styles, scripts = ([files[name] for name in pattern.findall(html)] for pattern in (_STYLE, _SCRIPT))
    html = _STYLE.sub(lambda match: f"<style>{files[match[1]]}</style>", html)
    html = _SCRIPT.sub(lambda match: f"<script>{files[match[1]]}</script>", html)
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    html = html.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    # JSON can spell the one character that could end the element in another way.
    block = f'<script type="application/json" id="bertsmith-data">{data.replace("<", chr(92) + "u003c")}</script>'
    return re.sub(r"<body[^>]*>", lambda match: match[0] + block, html, count=1)


def _hashes(sources: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
