"""What printed numbers must satisfy among themselves; `printed_checks` tests it."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hands_lib.reproduce.published.numbers import Direction, StrictModel


class Place(StrictModel):
    """A cell named by (row, metric), or by (table, row, metric) where it stands in another table."""

    table: str = ""
    row: str
    metric: str

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, list) and len(data) in (2, 3):
            return dict(zip(("table", "row", "metric")[-len(data) :], map(str, data), strict=True))
        if isinstance(data, list):
            raise ValueError("name a cell as [row, metric] or [table, row, metric]")
        return data

    def within(self, table: str) -> "Place":
        return self if self.table else Place(table=table, row=self.row, metric=self.metric)


class Arithmetic(StrictModel):
    """The `printed` cell is the mean, sum, product or ratio of the cells `of`, or the decrease in % from the
    first to the second, as far as the printed digits tell. `within` allows more, for words like "about"."""

    kind: Literal["mean", "sum", "product", "ratio", "decrease"]
    of: list[Place] = Field(min_length=2)
    printed: Place
    within: float = 0.0

    @model_validator(mode="after")
    def _two(self) -> "Arithmetic":
        if self.kind in ("ratio", "decrease") and len(self.of) != 2:
            raise ValueError(f"a {self.kind} needs exactly two cells in `of`")
        return self


class Same(StrictModel):
    """One number printed in several places, perhaps with different numbers of digits."""

    kind: Literal["same"]
    of: list[Place] = Field(min_length=2)


class Marks(StrictModel):
    """The rows that the paper prints as best (bold) and second best (underlined) are those by the numbers.
    A column in which the paper marks nothing is not checked: leave it out."""

    kind: Literal["marks"]
    metric: str
    direction: Direction
    best: list[str] = Field(min_length=1)
    second: list[str] = []
    rows: list[str] = Field(default=[], description="rows that are compared (default: all of the table)")


class Order(StrictModel):
    """The rows stand in falling (rising) order of a metric."""

    kind: Literal["order"]
    metric: str
    direction: Literal["falling", "rising"]
    rows: list[str] = Field(min_length=2)


Check = Annotated[Arithmetic | Same | Marks | Order, Field(discriminator="kind")]
