"""Compares the published files with the source texts, which are not in the repository.

With the texts at hand, `HANDS_PAPERS=FOLDER pytest tests/reproduce/test_published_retyping.py` compares every
number digit by digit, and `python tests/reproduce/test_published_retyping.py FOLDER` prints the counts and
the total of each table. A number of a printed table must stand in the line of its row, in the order of the
columns; a number of the running text must stand beside the words that its cell names. Without the texts, the
comparison itself is tested on a small text of our own.
"""

import os
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from hands_lib.reproduce.printed_checks import sum_of_digits as sum_as_typed
from hands_lib.reproduce.published import Bound, Cell, Published, Range, Spread, Table, read_all_published

PAPERS = "HANDS_PAPERS"
DISSERTATION = "generalization-dissertation.md"
TEXTS = {
    "va_nerf": "va-nerf.md",
    "intersections": "two-hands-occupancy.md",
    "refinement": "dir-summary.md",
    "hand_object": "hand-object-readme.md",
    "latent_video": DISSERTATION,
    "sharp_features": DISSERTATION,
    "point_graphics": DISSERTATION,
    "dense_pose": DISSERTATION,
    "head_portraits": DISSERTATION,
}
NEAR = 80  # characters on either side of the words that a number stands beside
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?=M?(?![\w])(?!\.\d))")


def plain(text: str) -> str:
    """A table cell without emphasis, formulas, subscripts and citations."""
    text = re.sub(r"\[[\d, ]+\]|\$\\(times|checkmark)\$", "", text)
    text = re.sub(r"<sub>", " ", text) if "<b>" not in text else text
    text = re.sub(r"</?\w+>", "", text).replace("$", "").replace("\\pm", "±").replace("*", "")
    return " ".join(text.split())


def label(text: str) -> str:
    """Row headings are compared without blanks."""
    return plain(text).replace(" ", "")


def region(text: str, where: str) -> list[str]:
    """The lines of a printed table: from its caption to the next one or to the next heading."""
    found = re.match(r"Table (\d+|[IVX]+)", where)
    assert found, f"{where}: no printed table"
    lines = text.splitlines()
    caption = re.compile(rf"table {found[1]}:", re.IGNORECASE)
    start = next(i for i, line in enumerate(lines) if caption.match(line))
    following = re.compile(r"table (\d+|[IVX]+):|#+ |Acknowledgments|Conclusion", re.IGNORECASE)
    stop = next((i for i in range(start + 1, len(lines)) if following.match(lines[i])), len(lines))
    return lines[start + 1 : stop]


def numbers(cells: list[str]) -> list[str]:
    """What a row prints, in order: numbers as they are spelled, `-` where it leaves one out."""
    found = []
    for cell in cells:
        found += ["-"] if re.fullmatch(r"-+", cell) else NUMBER.findall(cell)
    return found


def row_numbers(lines: list[str], heading: str, occurrence: int) -> list[str]:
    """The numbers after the given occurrence of a row heading, which may span several cells."""
    wanted, seen = heading.replace(" ", ""), 0
    for line in lines:
        cells = [cell for cell in line.split("\t") if plain(cell)]
        for i in range(len(cells)):
            for j in range(i + 1, min(i + 4, len(cells)) + 1):
                if "".join(label(cell) for cell in cells[i:j]) == wanted:
                    seen += 1
                    if seen == occurrence:
                        return numbers([plain(cell) for cell in cells[j:]])
    return []


def spelled(value: object) -> list[str]:
    """A typed value as a row prints it."""
    if value is None:
        return ["-"]
    if isinstance(value, dict):
        return [str(number) for number in value.values()]
    return [str(value)]


def rows_not_found(table: Table, text: str) -> list[str]:
    """Rows (for a transposed table: metrics) whose numbers are not those of the source text."""
    lines = region(text, table.where)
    if table.transposed:
        names = {column.label: i for i, column in enumerate(table.columns.values())}
        typed = {
            name: [s for row in table.rows.values() for s in spelled(row.values[i]) if s != "-"]
            for name, i in names.items()
        }
        return [name for name, values in typed.items() if row_numbers(lines, name, 1) != values]
    wrong = []
    for name, row in table.rows.items():
        values = [s for value in row.values for s in spelled(value)]
        found = row_numbers(lines, row.label or name, row.occurrence or 1)[table.skip :]
        if found[: len(values)] != values and found != [v for v in values if v != "-"]:
            wrong.append(f"{name}: typed {values}, the text has {found[: len(values)]}")
    return wrong


def total_of_text(table: Table, text: str) -> Decimal:
    """The sum of a table's numbers, taken from the lines of the source text."""
    lines, total = region(text, table.where), Decimal(0)
    if table.transposed:
        for column in table.columns.values():
            total += sum(Decimal(n) for n in row_numbers(lines, column.label, 1) if n != "-")
        return total
    for name, row in table.rows.items():
        width = len([s for value in row.values for s in spelled(value)])
        found = row_numbers(lines, row.label or name, row.occurrence or 1)[table.skip :][:width]
        total += sum(Decimal(n) for n in found if n != "-")
    return total


def spellings(cell: Cell) -> list[str]:
    """How the text may spell the number of a cell."""
    if cell.printed:
        return [cell.printed]
    value = cell.value
    if isinstance(value, Bound):
        value = next(v for _, v in value if v is not None)
    if isinstance(value, Spread | Range):
        return [f"{v:.{cell.decimals or 0}f}" for _, v in value]
    return [f"{value:.{cell.decimals or 0}f}", f"{value:,.{cell.decimals or 0}f}"]


def stands_in_text(cell: Cell, text: str) -> bool:
    """Whether a number of the running text stands beside its words."""
    flat = " ".join(text.split())
    for found in re.finditer(re.escape(cell.near), flat):
        around = flat[max(0, found.start() - NEAR) : found.end() + NEAR]
        for word in spellings(cell):
            if re.search(rf"(?<![\d.])(?<!\d,){re.escape(word)}(?!\w|[.,]\d)", around):
                return True
    return False


def compare_with_text(published: Published, text: str) -> tuple[dict[str, int], list[str]]:
    """How many cells were compared in which way, and what does not agree."""
    counts = {"typed": 0, "row by row": 0, "beside its words": 0, "second hand": 0}
    wrong = []
    for name, table in published.tables.items():
        counts["typed"] += len(table.cells)
        if table.rows:
            wrong += [f"{published.slug}, {name}: {found}" for found in rows_not_found(table, text)]
            total = total_of_text(table, text)
            if table.total != total:
                wrong.append(f"{published.slug}, {name}: total is {table.total}, that of the text {total}")
        for cell in table.cells:
            if cell.printed_column:
                counts["row by row"] += 1
            elif cell.verified:
                counts["beside its words"] += 1
                if not cell.near or not stands_in_text(cell, text):
                    why = f"{spellings(cell)} not beside {cell.near!r}" if cell.near else "`near` is missing"
                    wrong.append(f"{published.slug}, {name}, {cell.row} / {cell.metric}: {why}")
            else:
                counts["second hand"] += 1
    return counts, wrong


if PAPERS in os.environ:  # the texts are not in the repository, so that this cannot be asked of every machine

    @pytest.mark.parametrize("published", read_all_published(), ids=lambda found: found.slug)
    def test_every_number_is_that_of_the_source_text(published: Published) -> None:
        text = (Path(os.environ[PAPERS]) / TEXTS[published.slug]).read_text(encoding="utf-8")
        assert compare_with_text(published, text)[1] == []


# --- the comparison itself, on a text of our own -------------------------------------------------------

TEXT = """
We reach 12.10 dB (the best earlier result is 11.5 dB) on 1,500 images, seven in all.

Table 1: Results.

Method	PSNR	SSIM	Method	PSNR	SSIM
One [3]	10.0	0.50	Two [4, 5]	11.50	<b>0.70</b>
%	1.5	-	Ours ( $n = 1$ )	<u>12.10</u> $\\pm$ 0.3	0.60

Table 2: Others.

One	99.0	9.9
"""

COLUMNS = {"psnr": {"label": "PSNR", "unit": "dB"}, "ssim": {"label": "SSIM", "unit": "1"}}


def number(text: str) -> Decimal:
    return Decimal(text)


def typed(**changes: object) -> Table:
    rows = {
        "One": [number("10.0"), number("0.50")],
        "Two": [number("11.50"), number("0.70")],
        "share": {"label": "%", "values": [number("1.5"), None]},
        "Ours": {
            "label": "Ours ( n = 1 )",
            "values": [{"mean": number("12.10"), "spread": number("0.3")}, number("0.60")],
        },
    }
    table = {"title": "t", "where": "Table 1", "verified": True, "columns": COLUMNS, "rows": rows | changes}
    return Table.model_validate(table)


def test_rows_are_found_as_printed() -> None:
    assert rows_not_found(typed(), TEXT) == []
    assert total_of_text(typed(), TEXT) == sum_as_typed(typed()) == Decimal("37.20")


@pytest.mark.parametrize(
    "changes",
    [
        {"One": [number("10.1"), number("0.50")]},
        {"One": [number("0.50"), number("10.0")]},
        {"One": [number("10"), number("0.50")]},
        {"Two": [number("11.5"), number("0.70")]},
        {"Three": [number("10.0"), number("0.50")]},
        {"share": {"label": "%", "values": [None, number("1.5")]}},
        {"One": {"occurrence": 2, "values": [number("99.0"), number("9.9")]}},
    ],
)
def test_a_wrong_row_is_found(changes: dict) -> None:
    assert len(rows_not_found(typed(**changes), TEXT)) == 1


@pytest.mark.parametrize(
    ("value", "near", "printed", "stands"),
    [
        (Decimal("12.10"), "We reach", "", True),
        (Decimal("12.1"), "We reach", "", False),
        (Decimal("1500"), "images", "", True),
        (Decimal("500"), "images", "", False),
        (Decimal("7"), "images", "seven", True),
        (Decimal("12.10"), "Others", "", False),
    ],
)
def test_numbers_stand_beside_their_words(value: Decimal, near: str, printed: str, stands: bool) -> None:
    found = {"value": value, "near": near, "printed": printed, "verified": True}
    cell = Cell.model_validate({"row": "r", "metric": "m", "unit": "1", "where": "text"} | found)
    text = TEXT.replace("Table 2", "x" * 2 * NEAR + "Table 2")
    assert stands_in_text(cell, text) is stands


def main(folder: Path) -> int:
    """Print the counts and the totals; exit code 1 if a number does not agree."""
    sums: dict[str, int] = {}
    wrong: list[str] = []
    for published in read_all_published():
        text = (folder / TEXTS[published.slug]).read_text(encoding="utf-8")
        counts, found = compare_with_text(published, text)
        wrong += found
        print(f"{published.slug:16}", ", ".join(f"{key}: {value}" for key, value in counts.items()))
        for name, table in published.tables.items():
            if table.rows:
                print(f"    {name}: total: {total_of_text(table, text)}")
        sums = {key: sums.get(key, 0) + value for key, value in counts.items()}
    sums["not found"] = len(wrong)
    print(f"{'all':16}", ", ".join(f"{key}: {value}" for key, value in sums.items()))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER (with {', '.join(sorted(set(TEXTS.values())))})")
    sys.exit(main(Path(sys.argv[1])))
