"""The settings that docs/zones.md shows are settings."""

from pathlib import Path

from danesurvey.settings import load

PAGE = Path(__file__).parents[2] / "docs/zones.md"


def test_the_sources_of_the_page(tmp_path: Path) -> None:
    example = PAGE.read_text("utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "danesurvey.toml").write_text(example, "utf-8")
    settings = load(tmp_path / "danesurvey.toml", ())
    assert {source.kind for source in settings.zones} == {"file", "czds", "axfr", "list"}
