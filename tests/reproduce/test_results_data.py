"""The results as data: against their schema, against the lines and the printed tables, and twice the same."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from job_lines import COMMIT, add_line, job_line

from hands_lib.reproduce.published import read_all_published
from hands_lib.reproduce.results_data import write_results
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.verdicts import claims_text

ROOT = Path(__file__).resolve().parents[2]
FILE = """
slug: system
source: key
metrics:
  size: {unit: kB, label: size of the file}
tables:
  errors:
    title: Errors
    where: Table 1
    protocol: test set
    note: '"as" <printed> | so'
    verified: true
    total: 42.10
    columns:
      error: {label: Err., unit: mm, better: lower}
    rows:
      base: [30.00]
      ours: [12.10]
    cells:
      - {row: text, metric: error, unit: mm, value: {less_than: 13}, where: Section 1, verified: false}
claims:
  - id: better
    text: Ours is better.
    region: hands
    where: Section 1
    table: errors
    test: {kind: comparison, metric: error, better: ours, than: base, direction: lower}
own_claims:
  - id: small
    text: The file is small.
    table: errors
    test: {kind: threshold, rows: [ours], metric: size, below: 9}
"""

BIB = """
@inproceedings{key,
  author = {de la Mano, Ana and B{\\ae}rentzen, Bo and Cho, Chul},
  title  = {{NeRF} of {3D} Hands},
  year   = {2024},
}
"""


def written(root: Path, folder: Path) -> dict:
    write_results(root, folder)
    found = json.loads((folder / "results.json").read_text())
    jsonschema.Draft202012Validator.check_schema(
        schema := json.loads((folder / "results.schema.json").read_text())
    )
    jsonschema.validate(found, schema)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "book" / "published").mkdir(parents=True)
    (tmp_path / "book" / "published" / "system.yml").write_text(FILE)
    (tmp_path / "book" / "references.bib").write_text(BIB)
    for seed, (ours, base) in enumerate([(12.0, 20.0), (13.0, 22.0), (11.0, 21.0)]):
        rows = {"ours": {"error": ours, "size": 1.0}, "base": {"error": base}}
        add_line(tmp_path, job_line("system", "both", seed, {"errors": rows}))
    add_line(tmp_path, job_line("system", "both", 3, {"errors": {"ours": {"error": 99.0}}}, profile="smoke"))
    add_line(tmp_path, job_line("system", "both", 4, {"errors": {"ours": {"error": 99.0}}}, dirty=True))
    return tmp_path


def test_a_small_book(root: Path, tmp_path: Path) -> None:
    (system,) = written(root, tmp_path)["systems"]
    assert system["versions"] == {"chapter": 1}
    assert (system["name"], system["title"], system["year"]) == ("system", "NeRF of 3D Hands", "2024")
    assert system["authors"] == ["de la Mano", "Bærentzen", "Cho"]
    (table,) = system["tables"]
    assert table["rows"] == ["base", "ours", "text"]
    assert table["columns"]["error"] == {"label": "Err.", "unit": "mm", "better": "lower"}
    assert table["columns"]["size"] == {"label": "size of the file", "unit": "kB", "better": None}
    cells = {(cell["row"], cell["column"]): cell for cell in table["cells"]}
    assert cells.keys() == {("base", "error"), ("ours", "error"), ("ours", "size"), ("text", "error")}
    printed = cells["ours", "error"]["printed"]
    assert (printed["text"], printed["number"]) == ("12.10", 12.1)
    assert printed["place"] == "Table 1, row 'ours', column 'Err.'"
    assert (cells["text", "error"]["printed"]["text"], cells["text", "error"]["measured"]) == ("< 13", [])
    (measured,) = cells["ours", "error"]["measured"]  # neither smoke nor dirty
    assert measured["values"] == {"0": 12.0, "1": 13.0, "2": 11.0}
    assert (measured["mean"], measured["standard_deviation"]) == (12.0, 1.0)
    assert (measured["profile"], measured["dataset"], measured["protocol"]) == ("cpu", "world", "mean")
    assert (measured["commits"], measured["chapter"], measured["job"]) == ([COMMIT], "chapter", "both")
    better, small = system["claims"]
    assert (better["region"], better["holds_in_print"], better["of_this_book"]) == ("hands", True, False)
    (verdict,) = better["verdicts"]
    assert (verdict["answer"], verdict["standing"], better["standing"]) == ("reproduced",) * 3
    (part,) = verdict["parts"]
    assert part["effect"] == {
        "mean": 9.0,
        "low": pytest.approx(9 - 4.302653 / 3**0.5),
        "high": pytest.approx(9 + 4.302653 / 3**0.5),
        "unit": "mm lower",
        "d": 9.0,
    }
    assert (small["of_this_book"], small["holds_in_print"]) == (True, None)


def test_stale_numbers_are_told_apart(root: Path, tmp_path: Path) -> None:
    (root / "book" / "versions.yml").write_text("system/chapter: {version: 2}\n")
    add_line(root, job_line("system", "both", 0, {"errors": {"ours": {"error": 5.0}}}, version=2))
    (system,) = written(root, tmp_path)["systems"]
    (cell,) = [c for c in system["tables"][0]["cells"] if (c["row"], c["column"]) == ("ours", "error")]
    assert [(m["stale"], m["mean"]) for m in cell["measured"]] == [(False, 5.0), (True, 12.0)]
    assert system["versions"] == {"chapter": 2}


def test_the_text_says_nothing_of_the_build(root: Path, tmp_path: Path) -> None:
    """The order of lines and the moment of writing change no byte."""
    written(root, tmp_path / "one")
    path = root / "book" / "results" / "system" / "chapter.jsonl"
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True), reverse=True)))
    written(root, tmp_path / "two")
    for name in ("results.json", "results.schema.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.fixture(scope="module")
def of_the_book(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The file of this book: it judges every claim."""
    return written(ROOT, tmp_path_factory.mktemp("results"))


def test_numbers_of_the_book_are_those_of_its_lines(of_the_book: dict) -> None:
    """Every measured number of the file stands in a line, and every cell of the lines has a number in it."""
    found = of_the_book
    told = {
        (system["slug"], table["name"], cell["row"], cell["column"], m["dataset"], int(seed)): value
        for system in found["systems"]
        for table in system["tables"]
        for cell in table["cells"]
        for m in cell["measured"]
        for seed, value in m["values"].items()
    }
    lines = [line for line in read_lines(root=ROOT) if line.is_result]
    known: dict[tuple, set[float]] = {}
    for line in lines:
        for table, rows in line.rows.items():
            for row, columns in rows.items():
                for column, value in columns.items():
                    key = (line.slug, table, row, column, line.dataset_for(table)[0], line.seed)
                    known.setdefault(key, set()).add(value)
    assert [key for key, value in told.items() if value not in known[key]] == []
    assert {key[:4] for key in known} == {key[:4] for key in told}


def test_cells_say_what_their_values_make(of_the_book: dict) -> None:
    found = of_the_book
    for system in found["systems"]:
        for table in system["tables"]:
            for m in (m for cell in table["cells"] for m in cell["measured"]):
                values = list(m["values"].values())
                assert m["mean"] == pytest.approx(np.mean(values), abs=1e-12)
                assert (m["standard_deviation"] is None) is (len(values) == 1)


def test_verdicts_of_the_book_are_those_that_are_printed(of_the_book: dict) -> None:
    from hands_lib.reproduce.evidence import read_evidence

    found = of_the_book
    published = read_all_published(ROOT)
    text = claims_text(published, {p.slug: read_evidence(p.slug, ROOT) for p in published})
    answers = [v["standing"] for s in found["systems"] for c in s["claims"] for v in c["verdicts"]]
    assert len(answers) > 100
    own = [line.split("  ")[0].lower() for line in text.splitlines() if line[:1].isupper()]
    assert answers == own
