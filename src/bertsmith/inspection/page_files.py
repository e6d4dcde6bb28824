"""The files of the page, as they lie in the package."""

from importlib.resources import files

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def page_files() -> dict[str, str]:
    """Return the text of each file by name."""
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in files("bertsmith.inspection").joinpath("page").iterdir()
        if entry.name.rpartition(".")[2] in MEDIA_TYPES
    }
