"""Numbers as a paper prints them: plain ones, bounds, ranges, means with their spread; with their digits."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, model_validator

Direction = Literal["lower", "higher"]


class StrictModel(BaseModel):
    """What the models of the published files have in common: unknown keys are errors, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bound(StrictModel):
    """A published bound or a rounded number: "less than 0.5", "more than 100", "about 5"."""

    less_than: float | None = None
    more_than: float | None = None
    about: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Bound":
        if sum(v is not None for v in (self.less_than, self.more_than, self.about)) != 1:
            raise ValueError("give exactly one of less_than, more_than, about")
        return self


class Spread(StrictModel):
    """A published mean with its ± (what the ± is, the paper says or the cell's note does)."""

    mean: float
    spread: float


class Range(StrictModel):
    """A published range, both ends included."""

    lowest: float
    highest: float

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.lowest >= self.highest:
            raise ValueError("lowest must be below highest: swap them")
        return self


def _plain(value: Any) -> Any:
    """Decimals (as the file reader gives them) to floats, down through dicts."""
    if isinstance(value, Decimal):
        return float(value)
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _kind_of_number(value: Any) -> str:
    """Which of the forms of a number is meant, so that an error speaks of that one alone."""
    if not isinstance(value, dict):
        return {Bound: "bound", Spread: "spread", Range: "range"}.get(type(value), "number")
    if value.keys() & {"mean", "spread"}:
        return "spread"
    return "range" if value.keys() & {"lowest", "highest"} else "bound"


Number = Annotated[
    Annotated[float, Tag("number")]
    | Annotated[Bound, Tag("bound")]
    | Annotated[Spread, Tag("spread")]
    | Annotated[Range, Tag("range")],
    Discriminator(_kind_of_number),
]


def _decimals(value: Any) -> int | None:
    """Digits after the point of a number as it was typed; None for a float, which has forgotten them."""
    if isinstance(value, dict):
        found = [_decimals(v) for v in value.values()]
        return None if None in found or not found else max(d for d in found if d is not None)
    if isinstance(value, Decimal):
        return max(0, -int(value.as_tuple().exponent))
    return None


class Cell(StrictModel):
    """One published number. `where` is the table, figure or section it stands in.

    `verified` says that the re-typing check compared the number digit by digit with the source text; it is
    false where the source is second hand. `near` is a word or two of the source beside a number of the
    running text, by which the check finds it; `printed` is its spelling there if it is not the plain number.
    """

    row: str
    metric: str
    unit: str
    value: Number
    where: str
    verified: bool
    note: str = ""
    protocol: str = ""
    near: str = ""
    printed: str = ""
    printed_row: str = ""
    printed_column: str = ""
    decimals: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _digits(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "value" not in data:
            return data
        typed = data["value"]
        return {"decimals": _decimals(typed)} | data | {"value": _plain(typed)}

    def _digit_text(self, value: float) -> str:
        # a printed table keeps its digits; "4.0" of a sentence is shown as 4
        if self.decimals is None or not self.printed_column:
            return f"{value:,.10g}"
        return f"{value:,.{self.decimals}f}"

    @property
    def text(self) -> str:
        """The number as a reader expects it: `< 0.5`, `about 5`, `307`, `94 ± 2`."""
        if isinstance(self.value, Bound):
            words = {"less_than": "< ", "more_than": "> ", "about": "about "}
            return next(f"{words[k]}{v:,.10g}" for k, v in self.value if v is not None)
        if isinstance(self.value, Spread):
            return f"{self._digit_text(self.value.mean)} ± {self._digit_text(self.value.spread)}"
        if isinstance(self.value, Range):
            return f"{self.value.lowest:,.10g} to {self.value.highest:,.10g}"
        return self._digit_text(self.value)

    @property
    def number(self) -> float | None:
        """The number to calculate with; None for a bound or a range."""
        if isinstance(self.value, Spread):
            return self.value.mean
        return None if isinstance(self.value, Bound | Range) else self.value

    @property
    def place(self) -> str:
        """Where the number stands, down to row and column."""
        row = f", row {self.printed_row!r}" if self.printed_row else ""
        column = f", column {self.printed_column!r}" if self.printed_column else ""
        return f"{self.where}{row}{column}"
