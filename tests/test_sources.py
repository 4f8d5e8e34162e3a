"""The alarm: every version in `book/versions.yml` belongs to the sources that are here."""

from pathlib import Path

from hands_lib.reproduce.same import alarms

ROOT = Path(__file__).resolve().parents[1]


def test_versions_belong_to_the_present_sources() -> None:
    assert "\n".join(alarms(ROOT)) == ""
