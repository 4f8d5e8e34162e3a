"""What a paper says of its numbers, as tests on cells of its tables; `verdicts` judges them on ours."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hands_lib.reproduce.published.numbers import Direction, StrictModel


class Threshold(StrictModel):
    """Every row's mean of `metric` is below (above) a number, or equal to it."""

    kind: Literal["threshold"]
    rows: list[str] = Field(min_length=1)
    metric: str
    below: float | None = None
    above: float | None = None
    equals: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Threshold":
        if sum(v is not None for v in (self.below, self.above, self.equals)) != 1:
            raise ValueError("give exactly one of below, above, equals")
        return self


class Comparison(StrictModel):
    """Over seeds, `metric` of row `better` is lower (higher) than that of row `than`. `margin` is how much
    worse it may be, in the metric's unit, where the paper claims no more than "as good as"."""

    kind: Literal["comparison"]
    metric: str
    better: str
    than: str
    direction: Direction
    margin: float = Field(default=0.0, ge=0)


class Ratio(StrictModel):
    """Over seeds, `metric` of row `of` divided by that of row `over` is below (above) a number: "17 times
    smaller" is a ratio above 17, "at least 10 % fewer" one below 0.9."""

    kind: Literal["ratio"]
    metric: str
    of: str
    over: str
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Ratio":
        if (self.below is None) == (self.above is None):
            raise ValueError("give exactly one of below, above")
        return self


Single = Annotated[Threshold | Comparison | Ratio, Field(discriminator="kind")]


class AllOf(StrictModel):
    """Several tests that the claim needs together: better than each of these rows, in each metric."""

    kind: Literal["all"]
    tests: list[Single] = Field(min_length=2)


class Gate(StrictModel):
    """What has to hold before a claim is judged at all: the module that the claim is about does its job, or
    a baseline is no worse than a rule without learning. Where it does not hold, the claim is neither
    reproduced nor not reproduced, and `otherwise` says why. `table`: where it is measured, if not in the
    claim's own table."""

    otherwise: str = Field(min_length=1, description="why nothing is judged where the gate does not hold")
    table: str = ""
    test: Annotated[Threshold | Comparison | Ratio | AllOf, Field(discriminator="kind")]


class Claim(StrictModel):
    """A statement of the paper, in our words. `deterministic` claims need one seed, all others three or more.
    `region` says what pixels, joints or pairs its numbers are about, where the text alone would mislead."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: str
    where: str
    table: str
    test: Annotated[Threshold | Comparison | Ratio | AllOf, Field(discriminator="kind")]
    deterministic: bool = False
    region: str = ""
    note: str = Field(default="", description="the one caveat that a reader of the verdict needs")
    gate: Gate | None = None

    @property
    def tests(self) -> "Sequence[Threshold | Comparison | Ratio]":
        """The single tests, one or several."""
        return self.test.tests if isinstance(self.test, AllOf) else [self.test]

    @property
    def before(self) -> "Claim | None":
        """Its gate as a claim on the table where it is measured."""
        if self.gate is None:
            return None
        own = {"table": self.gate.table or self.table, "test": self.gate.test, "gate": None}
        return self.model_copy(update=own)


def rows_of(test: Threshold | Comparison | Ratio) -> list[str]:
    """The rows that a test looks at."""
    if isinstance(test, Threshold):
        return list(test.rows)
    return [test.better, test.than] if isinstance(test, Comparison) else [test.of, test.over]


class OwnClaim(Claim):
    """What this book expects of its own runs, judged as the paper's claims are. It is not the paper's."""

    where: str = "target of this book"
