"""What identifies a run, and the key, file name and checkpoint that follow from it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hands_lib.reproduce.project import ProjectError, nearest

PROFILES = ("smoke", "cpu", "gpu", "paper")  # from small to large; a page shows the largest one that ran


@dataclass(frozen=True)
class Run:
    """One run: what is measured, on what, with which settings. Two equal runs are one record.

        run = Run(slug="intersections", table="losses", variant="full", seed=0, profile="cpu",
                  dataset="two hands", dataset_version="1", config={"steps": 100})

    slug, table, variant    system, and the table and row of `book/published/<slug>.yml` that it belongs to
    profile                 smoke, cpu, gpu or paper
    dataset                 what is measured on, for example "interhand26m sample"
    config                  every setting that could change the numbers; JSON values

    Raises:
        ProjectError: an unknown profile, a name that is empty or no folder can have, or a config that is no
            JSON: before anything is trained.
    """

    slug: str
    table: str
    variant: str
    seed: int
    profile: str
    dataset: str
    dataset_version: str
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise nearest(self.profile, PROFILES, f"profile of a run of {self.slug}:")
        if not re.fullmatch(r"[a-z0-9_]+", self.slug):
            raise ProjectError(f"a run's slug is {self.slug!r}: use a-z, 0-9 and _ alone")
        for name in ("table", "variant", "dataset", "dataset_version"):
            if not str(getattr(self, name)):
                raise ProjectError(f"a run of {self.slug} has an empty {name}: name it")
        # a copy: a dictionary that the caller changes later would make another run of this one
        object.__setattr__(self, "config", json.loads(self.config_text()))

    def config_text(self) -> str:
        """The settings as JSON, the same for the same settings."""
        try:
            return json.dumps(self.config, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ProjectError(f"a run of {self.slug}: config must be plain JSON values ({error})") from error

    def key(self, method: str) -> str:
        """Hash of what identifies the run by this version of its method (16 hexadecimal digits)."""
        words = [self.slug, self.table, self.variant, self.seed, self.profile, self.dataset]
        words += [str(self.dataset_version), self.config_text(), method]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]

    def file_name(self, method: str) -> str:
        """Of its record. A smoke run replaces its predecessor whatever its settings were; of any other
        profile, every key has a file of its own."""
        words = [self.profile, self.table, self.variant, self.dataset, f"seed{self.seed}"]
        # "q + p" and "q + p'" are two variants, but the same word in a file's name
        exact = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:6]
        words.append(exact if self.profile == "smoke" else self.key(method))
        return "-".join(re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") for word in words) + ".json"
