"""Nothing that was measured was lost when one record a row became one line a job.

The records are read from the commit before, so that this test needs the repository's history.
"""

import json
import subprocess
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from hands_lib.reproduce.evidence import read_evidence
from hands_lib.reproduce.jobs import JobLine
from hands_lib.reproduce.published import read_all_published, unit_of
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.verdicts import Answer, judge

BEFORE = "5cc3b21e8727cc1aad93fb9138490dcd30d603d0"  # the last commit with records
ROOT = Path(__file__).resolve().parents[2]
GEOMETRY = (  # start of an old table's name, the new table, start of the row's name
    ("Signed distance and closest face, ", "signed distance and closest face", ""),
    ("Signed distance, 64 different pairs, ", "signed distance of pairs", "64 pairs, "),
    ("Inside or not, 125,000 points of a grid, ", "inside or not", "125,000 grid points, "),
    ("The same for 1,000 different hands", "many different hands", "1,000 hands"),
    ("Rasterising two hands, ", "rasterising two hands", ""),
)


VERDICTS = {  # what that commit said of its 104 claims, of which one was measured on two data sets
    "reproduced": """
        intersections/watertight intersections/vertices intersections/refined-vertices
        intersections/fewer-vertices intersections/fit-below-half-millimetre
        intersections/fit-below-half-millimetre intersections/predicted-fit
        intersections/fewer-intersections intersections/substantially-fewer intersections/both-hands-help
        intersections/both-hands-slower intersections/fewer-under-noise intersections/palm-frame-iou
        intersections/untangle-removes refinement/refinement-helps
        refinement/planes-at-once-ten-times-in-training
        refinement/refined-15-percent-lower-with-a-small-backbone refinement/learns-from-pictures
        refinement/each-stage-lowers refinement/collision-term-empties refinement/surface-look-helps
        refinement/better-than-dense-vertices refinement/better-than-direct-joints
        va_nerf/psnr-best-of-all va_nerf/psnr-large-views va_nerf/psnr-mask-0-1 va_nerf/psnr-mask-0-2
        va_nerf/psnr-mask-0-3 va_nerf/places-where-hidden va_nerf/paper-beats-release
        va_nerf/width-by-validation va_nerf/told-critic-learns
    """,
    "not reproduced": """
        intersections/error-no-higher intersections/occupancy-iou intersections/loss-lowers-error
        intersections/sparse-single-speed intersections/more-accurate-under-noise
        refinement/beats-others-by-15 refinement/own-planes-help refinement/refined-15-percent-lower
        refinement/refined-15-percent-lower-when-longer va_nerf/each-feature
        va_nerf/each-feature-every-metric va_nerf/visibility-in-fusion va_nerf/visibility-discriminator
        va_nerf/psnr-visibility va_nerf/critic-where-hidden
    """,
    "inconclusive": """
        intersections/weight-trades-error intersections/every-variant-helps
        intersections/both-hands-help-occupancy intersections/untangle-keeps-accuracy
        refinement/both-relations-help refinement/planes-at-once-ten-times
        refinement/hidden-hands-gain-more refinement/collision-term-costs-nothing
        refinement/offset-in-tokens-helps va_nerf/best-of-all va_nerf/large-views va_nerf/occlusion
        va_nerf/all-features-best va_nerf/psnr-places va_nerf/critic-against-none va_nerf/critic-learns
        va_nerf/told-critic-where-hidden
    """,
}


SINCE = {  # claims that are newer
    "va_nerf/better-than-one-colour", "va_nerf/better-than-one-colour-where-hidden",
    "va_nerf/better-than-the-input-laid-on", "va_nerf/better-than-one-colour-under-masks",
    "va_nerf/visibility-where-hidden", "va_nerf/paper-beats-release-on-hands",
}  # fmt: skip
SYSTEMS_SINCE = {"hand_object"}  # whose jobs are all newer: none of their claims was run then


def git(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, input=given, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def records() -> list[dict]:
    files = git("ls-tree", "-r", "--name-only", BEFORE, "book/results/").decode().splitlines()
    names = [name for name in files if name.endswith(".json")]
    text = git("cat-file", "--batch", given="".join(f"{BEFORE}:{name}\n" for name in names).encode())
    found = []
    while text:
        head, _, rest = text.partition(b"\n")
        size = int(head.split()[2])
        found.append(json.loads(rest[:size]))
        text = rest[size + 1 :]
    assert len(found) == len(names) == 670
    return found


@pytest.fixture(scope="module")
def lines() -> list[JobLine]:
    return [line for line in read_lines(root=ROOT) if line.is_result and line.version == 1]


def place(record: dict) -> tuple[str, str]:
    """Table and row, as they are called now."""
    for start, table, row in GEOMETRY:
        if record["slug"] == "geometry" and record["table"].startswith(start):
            return table, row + record["table"].removeprefix(start)
    return record["table"], record["variant"]


def test_every_number_is_found_again_bit_for_bit(records: list[dict], lines: list[JobLine]) -> None:
    rows = {}
    for line in lines:
        for table, found in line.rows.items():
            for row, numbers in found.items():
                about = line.profile, *line.dataset_for(table), line.protocol
                rows[line.slug, table, row, line.seed, *about] = line, numbers
    for record in records:
        table, row = place(record)
        about = (record[name] for name in ("profile", "dataset", "dataset_version", "protocol"))
        line, numbers = rows[record["slug"], table, row, record["seed"], *about]
        assert numbers == {name: metric["value"] for name, metric in record["metrics"].items()}
        for name, metric in record["metrics"].items():
            assert unit_of(record["slug"], table, row, name, ROOT) == metric["unit"]
        assert (line.steps, line.device, line.libraries) == tuple(
            record[name] for name in ("steps", "device", "libraries")
        )
        assert record["git_commit"] in (line.commit, *line.config.get("commits", []))
        for key, value in record["config"].items():
            assert line.config[key] == value or line.config[key][record["variant"]] == value


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    """The interval of those days: percentiles of the mean over draws of the seeds."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def test_the_old_interval_gives_the_old_verdicts() -> None:
    answers: dict[str, list[str]] = {answer: [] for answer in get_args(Answer)}
    for system in read_all_published(ROOT):
        if system.slug in SYSTEMS_SINCE:
            continue
        evidence = read_evidence(system.slug, ROOT)
        for claim in (*system.claims, *system.own_claims):
            if f"{system.slug}/{claim.id}" in SINCE:
                continue
            ungated = claim.model_copy(update={"gate": None})  # which were not there then
            for verdict in judge(ungated, evidence, bootstrap, "plain"):
                answers[verdict.answer].append(f"{system.slug}/{claim.id}")
    assert len(answers.pop("not run")) == 37  # 41 with the four of hand and object
    assert {answer: sorted(claims) for answer, claims in answers.items()} == {
        answer: sorted(text.split()) for answer, text in VERDICTS.items()
    }
