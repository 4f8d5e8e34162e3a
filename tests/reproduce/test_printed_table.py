"""Published tables as they are printed: every number once, marks as a slow version finds them."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from job_lines import add_line, job_line

from hands_lib.reproduce.evidence import Evidence, read_evidence
from hands_lib.reproduce.html_tables import Entry, Group, HtmlTable, Line
from hands_lib.reproduce.measured import best_two
from hands_lib.reproduce.printed_table import printed_tables
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.published import Published, read_all_published, read_published
from hands_lib.reproduce.tables import compare

ROOT = find_root(Path(__file__).parent)
TABLES = [(p, name) for p in read_all_published(ROOT) for name, t in p.tables.items() if t.cells]


def lines_of(table: HtmlTable, kind: str) -> list[Line]:
    return [
        line
        for row in table.lines
        for cell in row
        if isinstance(cell, Entry)
        for line in cell.lines
        if line.kind == kind
    ]


@pytest.mark.parametrize(("published", "name"), TABLES, ids=lambda x: x if isinstance(x, str) else x.slug)
def test_every_typed_number_stands_in_exactly_one_cell(published: Published, name: str) -> None:
    shown = printed_tables(published, name, read_evidence(published.slug, ROOT))
    found = Counter(line.text for table in shown for line in lines_of(table, "published"))
    found.pop("–", None)
    texts = [cell.text for cell in published.tables[name].cells]
    assert sum(found.values()) == len(texts)
    for text in texts:  # with the unit behind it, where that is not the column's
        assert any(own.split(" ")[0].rstrip("*") == text.split(" ")[0] for own in found), text
    (first, *_) = shown
    if published.tables[name].rows and not published.tables[name].transposed:
        rows = [str(row[0]) for row in first.lines]
        assert rows == [published.row_name(name, row) for row in published.tables[name].rows]


@pytest.mark.parametrize(("published", "name"), TABLES, ids=lambda x: x if isinstance(x, str) else x.slug)
def test_no_raw_name_is_visible(published: Published, name: str) -> None:
    for table in printed_tables(published, name, read_evidence(published.slug, ROOT)):
        text = " ".join(str(cell) for row in (table.head, *table.lines) for cell in row)
        assert "_" not in text.replace("n_c", ""), text  # which is how the paper writes it


def slow_marks(values: dict[str, float], higher: bool) -> dict[str, str]:
    """By counting how many distinct numbers are better."""
    better = {
        row: len({other for other in values.values() if (other > own if higher else other < own)})
        for row, own in values.items()
    }
    if max(better.values(), default=0) == 0:
        return {}
    marks = {row: "best" for row, n in better.items() if n == 0}
    if len(values) > 2:
        marks |= {row: "second" for row, n in better.items() if n == 1}
    return marks


@given(
    values=st.dictionaries(st.text(max_size=3), st.integers(0, 5).map(float), max_size=6),
    better=st.sampled_from(["lower", "higher"]),
)
def test_best_and_second_best(values: dict[str, float], better: str) -> None:
    assert best_two(values, better) == slow_marks(values, better == "higher")
    assert best_two(values, None) == {}


def test_marks_of_the_papers_are_found() -> None:
    """Where a paper marks its best numbers, ours are the same."""
    checked = 0
    for published, name in TABLES:
        table = published.tables[name]
        checks = [check for check in table.checks if check.kind == "marks"]
        if not checks or table.transposed:
            continue
        (shown, *_) = printed_tables(published, name, read_evidence(published.slug, ROOT))
        for check in checks:
            column = 1 + list(table.columns).index(check.metric)
            marks = {}
            for key, row in zip(table.rows, shown.lines, strict=True):
                cell = row[column]
                first = cell.lines[0] if isinstance(cell, Entry) else Line("")
                marks[key] = first.mark
            for row in check.best:
                assert marks[row] == "best", (published.slug, name, check.metric, row)
            for row in check.second:
                assert marks[row] == "second", (published.slug, name, check.metric, row)
            checked += 1
    assert checked > 20


# --- a small table ---------------------------------------------------------------------------------------

FILE = {
    "slug": "system",
    "source": "key",
    "metrics": {
        "psnr": {"unit": "dB", "better": "higher", "label": "PSNR of whole pictures"},
        "lpips": {"unit": "1", "better": "lower", "label": "LPIPS", "missing": "no weights"},
    },
    "tables": {
        "views": {
            "title": "Novel <views>",
            "where": "Table 1",
            "verified": True,
            "columns": {
                "psnr": {"label": "PSNR", "unit": "dB", "better": "higher"},
                "lpips": {"label": "LPIPS", "unit": "1", "better": "lower"},
            },
            "rows": {"base": [20.0, 0.3], "middle": [21.0, 0.2], "ours": [22.5, 0.1]},
        }
    },
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, FILE)
    for seed, value in enumerate([11.0, 12.0, 13.0]):
        rows = {"base": {"psnr": 30.0}, "ours": {"psnr": value}}
        add_line(tmp_path, job_line("system", "both", seed, {"views": rows}))
    return tmp_path


def write(root: Path, file: dict) -> None:
    (root / "book" / "published").mkdir(parents=True, exist_ok=True)
    (root / "book" / "published" / "system.yml").write_text(yaml.safe_dump(file, sort_keys=False))


def evidence(root: Path) -> Evidence:
    return read_evidence("system", root)


def shown(root: Path) -> HtmlTable:
    (table,) = printed_tables(read_published("system", root), "views", evidence(root))
    return table


def test_published_above_measured_with_marks_of_each(root: Path) -> None:
    table = shown(root)
    assert [str(cell).replace("\N{NO-BREAK SPACE}", " ") for cell in table.head] == [
        "published | measured",
        "PSNR [dB] ↑ | PSNR of whole pictures",
        "LPIPS ↓",
    ]
    assert [[str(cell) for cell in row] for row in table.lines] == [
        ["base", "20.0 | 30 ± 0 (best)", "0.3 | no weights"],
        ["middle", "21.0 (second) | not run", "0.2 (second) | no weights"],
        ["ours", "22.5 (best) | 12 ± 1", "0.1 (best) | no weights"],
    ]
    html = table._repr_html_()
    assert "<views>" not in html
    assert '<span class="hands-hidden"> (higher is better)</span>' in html
    assert '<strong>22.5</strong><span class="hands-hidden"> (best)</span>' in html
    assert '<u>21.0</u><span class="hands-hidden"> (second)</span>' in html


def test_a_number_that_the_paper_leaves_out_is_measured_in_its_gap(root: Path) -> None:
    file = yaml.safe_load(yaml.safe_dump(FILE, sort_keys=False))
    file["tables"]["views"]["rows"]["base"][0] = None
    write(root, file)
    assert str(shown(root).lines[0][1]) == "– | 30 ± 0 (best)"
    text = repr(compare("system", "views", root=root))
    assert "beyond the printed numbers" not in text


def test_groups_are_marked_among_themselves(root: Path) -> None:
    file = yaml.safe_load(yaml.safe_dump(FILE, sort_keys=False))
    file["tables"]["views"] |= {
        "groups": {"old": ["base", "middle"], "ours": ["ours"]},
        "names": {"base": "b."},
    }
    write(root, file)
    table = shown(root)
    assert [row.title for row in table.rows if isinstance(row, Group)] == ["old", ""]
    assert [str(row[1]).partition(" |")[0] for row in table.lines] == ["20.0", "21.0 (best)", "22.5"]
    assert table.lines[0][0] == "b."
    assert table._repr_html_().count("<tbody") == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("groups", {"old": ["base", "midle"]}, "groups names row 'midle', which the table has not"),
        ("groups", {"old": ["base", "middle"]}, "groups: name every row of the table once"),
        ("names", {"Base": "b."}, "names names row 'Base', which the table has not"),
        ("missing", {"theirs": "no"}, "missing names row 'theirs', which the table has not"),
    ],
)
def test_rows_that_are_not_there_are_named(root: Path, key: str, value: dict, message: str) -> None:
    file = yaml.safe_load(yaml.safe_dump(FILE, sort_keys=False))
    file["tables"]["views"][key] = value
    write(root, file)
    with pytest.raises(ProjectError, match=rf"(?s)system\.yml.*{message}"):
        read_published("system", root)


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("psnr", "PSNR of whole pictures"),
        ("ray_cast_at_0_to_9", "pairs, 0 to 9"),
        ("first_mpjpe", "joint error, first"),
        ("mpjpe", "joint error"),
        ("other_name", "other name"),
    ],
)
def test_every_column_has_a_name_for_people(column: str, label: str) -> None:
    metrics = FILE["metrics"] | {
        "ray_cast_at_*": {"unit": "1", "label": "pairs"},
        "*mpjpe": {"unit": "mm", "label": "joint error"},
        "other*": {"unit": "mm"},
    }
    published = Published.model_validate(FILE | {"metrics": metrics})
    assert published.label("nowhere", column) == label


# --- what stands in a cell is text -----------------------------------------------------------------------


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(text=st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=12))
def test_text_of_a_cell_makes_no_tag(text: str) -> None:
    table = HtmlTable(
        text, [text], [[Entry([Line(text, "published", "best", text)])], Group(text, of=text)], notes=[text]
    )
    parser = _Text()
    parser.feed(table._repr_html_())
    own = {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "p", "span", "strong", "wbr"}
    assert set(parser.tags) <= own
    assert parser.text.replace("\N{NO-BREAK SPACE}", " ").count(text.replace("\N{NO-BREAK SPACE}", " ")) >= 5
