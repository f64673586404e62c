"""What the data set says of itself: README.md with example queries, CITATION.cff, LICENSE.

They depend on settings and the schema alone, so that every publication writes the same, and
lie in `public/`, which is what is handed on.
"""

from importlib.resources import files as package_files

from jinja2 import Environment, StrictUndefined

from reports.columns import Access
from reports.dataset import Dataset, replace_file
from reports.dictionary import SCHEMA_VERSION, TABLES
from reports.settings import PublishSettings

_URLS = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "ODC-By-1.0": "https://opendatacommons.org/licenses/by/1-0/",
}
_TEMPLATES = {
    "README.md": "dataset-readme.md.j2",
    "CITATION.cff": "citation.cff.j2",
    "LICENSE": "licence.txt.j2",
}


def write(dataset: Dataset, settings: PublishSettings) -> None:
    """Write what is not there yet, or no longer true."""
    for name, text in texts(settings).items():
        path = dataset.directory / Access.PUBLIC / name
        content = text.encode("utf-8")
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, content)


def texts(settings: PublishSettings) -> dict[str, str]:
    """File name and content."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    known = {
        "licence": settings.licence,
        "licence_url": _URLS.get(settings.licence, ""),
        "floor": settings.public_floor,
        "vantage": settings.vantage,
        "version": SCHEMA_VERSION,
        "tables": [table for table in TABLES if table.access is Access.PUBLIC],
    }
    return {
        name: environment.from_string(
            (package_files("reports") / "templates" / template).read_text("utf-8")
        ).render(known)
        for name, template in _TEMPLATES.items()
    }
