"""What the papers say: tables typed from the text, each number with its place, and claims as tests on them.

The files are `book/published/<slug>.yml`; the models below are their schema.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hands_lib.reproduce.project import ProjectError, find_root


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bound(_Model):
    """A published bound or a rounded number: "less than 0.5", "more than 100", "about 5"."""

    less_than: float | None = None
    more_than: float | None = None
    about: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Bound":
        if sum(v is not None for v in (self.less_than, self.more_than, self.about)) != 1:
            raise ValueError("give exactly one of less_than, more_than, about")
        return self


class Cell(_Model):
    """One published number. `where` is the table, figure or section it stands in; `verified` says that a
    person compared it with the printed paper, not with a copy of it."""

    row: str
    metric: str
    unit: str
    value: float | Bound
    where: str
    verified: bool
    note: str = ""

    @property
    def text(self) -> str:
        """The number as a reader expects it: `< 0.5`, `about 5`, `307`."""
        if isinstance(self.value, Bound):
            words = {"less_than": "< ", "more_than": "> ", "about": "about "}
            return next(f"{words[k]}{v:g}" for k, v in self.value if v is not None)
        return f"{self.value:,.10g}"


class Table(_Model):
    """A published table, or numbers of the running text put side by side."""

    title: str
    cells: list[Cell] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "Table":
        places = [(cell.row, cell.metric) for cell in self.cells]
        twice = {place for place in places if places.count(place) > 1}
        if twice:
            raise ValueError(f"given more than once: {sorted(twice)}")
        return self


class Threshold(_Model):
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


class Comparison(_Model):
    """Over seeds, `metric` of row `better` is lower (higher) than that of row `than`."""

    kind: Literal["comparison"]
    metric: str
    better: str
    than: str
    direction: Literal["lower", "higher"]


class Claim(_Model):
    """A statement of the paper. `deterministic` claims need one run, all others three seeds or more."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: str
    where: str
    table: str
    test: Annotated[Threshold | Comparison, Field(discriminator="kind")]
    deterministic: bool = False


class Published(_Model):
    """One file: the tables and claims of one system."""

    slug: str
    source: str = Field(description="key in book/references.bib")
    tables: dict[str, Table]
    claims: list[Claim] = []

    @model_validator(mode="after")
    def _claims_fit(self) -> "Published":
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) < len(ids):
            raise ValueError("two claims share an id")
        for claim in self.claims:
            if claim.table not in self.tables:
                raise ValueError(f"claim {claim.id} names table {claim.table!r}, which is not in the file")
        return self


def published_path(slug: str, root: Path | None = None) -> Path:
    return (root or find_root()) / "book" / "published" / f"{slug}.yml"


def read_published(slug: str, root: Path | None = None) -> Published:
    """The published numbers of one system.

    Raises:
        ProjectError: no such file, not YAML, or against the schema; names the file and the place in it.
    """
    path = published_path(slug, root)
    try:
        found = Published.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yml"))) or "none"
        raise ProjectError(f"{path} does not exist; published numbers are there for: {known}") from None
    except yaml.YAMLError as error:
        raise ProjectError(f"{path} is not YAML ({error}): mend it") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ProjectError(f"{path}: {problems}") from error
    if found.slug != slug:
        raise ProjectError(f"{path}: its slug is {found.slug!r}; name file and slug alike")
    return found


def read_all_published(root: Path | None = None) -> list[Published]:
    """Every published file, by slug."""
    folder = published_path("x", root).parent
    return [read_published(path.stem, root) for path in sorted(folder.glob("*.yml"))]
