"""What the papers say: tables typed from the text, each number with its place, and claims as tests on them;
and the units of everything that is measured.

The files are `book/published/<slug>.yml`. `schema` says what a file holds, with `numbers`, `tables`, `checks`
and `claims` for its parts; `reading` reads it. A printed table is typed as it is printed, as `columns` and
`rows`; numbers of the running text, of captions and of figures are typed one by one as `cells`. Both become
cells. A number keeps the digits it was typed with: `12.10` stays `12.10`.

Lines of jobs have numbers without units: `metrics`, of the file or of one table, name the unit of each
measured column once, and which direction is better; `unit_of` finds it.

Three things guard the typing where the papers themselves are not at hand: `checks` are what the printed
numbers must satisfy among themselves (percentages, means, best marks, one number in two places; tested in
`printed_checks.py`), `total` is the sum of a printed table's numbers, taken from the source text, and every
claim is tested on the printed cells. What a paper prints that does not agree with itself is an entry of
`inconsistencies`, not a silent correction.
"""

from hands_lib.reproduce.published.checks import Arithmetic, Check, Marks, Order, Place, Same
from hands_lib.reproduce.published.claims import (
    AllOf,
    Claim,
    Comparison,
    Gate,
    OwnClaim,
    Ratio,
    Threshold,
    rows_of,
)
from hands_lib.reproduce.published.numbers import Bound, Cell, Direction, Range, Spread
from hands_lib.reproduce.published.reading import (
    PublishedReader,
    better_of,
    published_path,
    read_all_published,
    read_published,
    unit_of,
)
from hands_lib.reproduce.published.schema import Inconsistency, Published, Scale
from hands_lib.reproduce.published.tables import Column, Metric, OwnTable, Row, Table, places_of

__all__ = [
    "AllOf",
    "Arithmetic",
    "Bound",
    "Cell",
    "Check",
    "Claim",
    "Column",
    "Comparison",
    "Direction",
    "Gate",
    "Inconsistency",
    "Marks",
    "Metric",
    "Order",
    "OwnClaim",
    "OwnTable",
    "Place",
    "Published",
    "PublishedReader",
    "Range",
    "Ratio",
    "Row",
    "Same",
    "Scale",
    "Spread",
    "Table",
    "Threshold",
    "better_of",
    "places_of",
    "published_path",
    "read_all_published",
    "read_published",
    "rows_of",
    "unit_of",
]
