"""The manifest lists what is published, run by run, and refuses what is none."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dane.faults import Refused, UsageFault
from reports import manifest
from reports.dataset import NAME, Dataset, RunKey, check_month, months_before, write_table
from reports.derived_tables import STATISTICS
from reports.dictionary import DOMAINS
from reports.library import Library
from reports.post import edition
from reports.settings import PublishSettings
from storage.export import ROW_GROUP
from tests.published_rows import KEY, NOON, domain, publish, table_of, write


def test_runs_are_added_and_replaced(tmp_path: Path) -> None:
    later = RunKey("2026-11", 8)
    publish(tmp_path, {DOMAINS: [domain("a.example", "dane")]}, later, started=NOON + timedelta(1))
    dataset = publish(tmp_path, {})
    once = (dataset.directory / NAME).read_bytes()
    assert [one.key for one in manifest.runs(dataset)] == [KEY, later]
    publish(tmp_path, {DOMAINS: [domain("a.example", "dane")]}, later, started=NOON + timedelta(1))
    assert (dataset.directory / NAME).read_bytes() == once
    assert manifest.last_run(dataset).rows["restricted/domains"] == 1


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"resources": [], "runs": [], "version": "3.0.0"}', "\x00"]
)
def test_what_is_no_manifest_of_ours(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(Refused):
        Dataset(tmp_path).manifest()


def test_no_run_of_that_month(tmp_path: Path) -> None:
    library = Library(publish(tmp_path, {}, kind="dane"), PublishSettings())
    assert library.run("2026-11").key == KEY
    for wanted in ({"month": "2026-10"}, {"month": None, "full": True}):
        with pytest.raises(Refused, match=r"has no .*run"):
            library.run(**wanted)
    with pytest.raises(UsageFault, match="not a month"):
        library.run("../../etc")


def test_the_post_is_of_the_last_full_run_beside_earlier_months(tmp_path: Path) -> None:
    counts = {("2025-11", 1): 5, ("2026-09", 2): 6, ("2026-10", 3): 7, ("2026-11", 4): 8}
    for number, ((month, run), count) in enumerate(counts.items()):
        row = {"metric": "dane_domains", "dimension": "all", "value": float(count)}
        publish(tmp_path, {STATISTICS: [row]}, RunKey(month, run), started=NOON + timedelta(number))
    publish(tmp_path, {}, RunKey("2026-11", 5), kind="dane", started=NOON + timedelta(9))
    library = Library(Dataset(tmp_path / "dataset"), PublishSettings())
    made = edition(library.dataset, library.run(None, full=True), 20)
    assert made.month == "2026-11"
    assert made.this_month.count("dane_domains") == 8
    assert made.last_month is not None
    assert made.last_month.count("dane_domains") == 7
    assert made.last_year is not None
    assert made.last_year.count("dane_domains") == 5


@given(
    st.dictionaries(
        st.sampled_from(["resolver", "client", "zones", "database", "probe", "x"]),
        st.one_of(st.none(), st.dictionaries(st.text(max_size=5), st.text(max_size=5))),
    )
)
def test_settings_shown_are_named_ones(settings: dict) -> None:
    settings.pop("zones", None)
    shown = manifest.public_settings(settings)
    json.dumps(shown)
    assert "database" not in shown
    assert "x" not in shown


@pytest.mark.parametrize(
    ("month", "count", "before"),
    [("2026-11", 1, "2026-10"), ("2026-01", 1, "2025-12"), ("2026-11", 12, "2025-11")],
)
def test_months(month: str, count: int, before: str) -> None:
    assert months_before(month, count) == before
    assert check_month(month) == month


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "26-01", "2026-11\n", "2026-11/..", ""])
def test_no_months(text: str) -> None:
    with pytest.raises(UsageFault):
        check_month(text)


def test_batch_borders_leave_no_trace(tmp_path: Path) -> None:
    rows = table_of(STATISTICS, [{"metric": str(number)} for number in range(1000)])
    many = pa.concat_tables([rows] * (ROW_GROUP // 1000 + 2))
    files = [write(tmp_path / name, {}, without=STATISTICS) for name in ("whole", "cut")]
    write_table(files[0], STATISTICS, [many])
    write_table(files[1], STATISTICS, many.to_batches(max_chunksize=777))
    whole, cut = (one.parts(STATISTICS)[0].read_bytes() for one in files)
    assert whole == cut
    assert files[0].read(STATISTICS).num_rows == many.num_rows
