"""Run once, then removed: turns the records of 5cc3b21 into lines. `python migrate.py FOLDER_OF_OLD_RESULTS`."""

import json
import shutil
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

from hands_lib.reproduce.chapters import preset_parameters
from hands_lib.reproduce.jobs import JobLine, Weights
from hands_lib.reproduce.project import find_root, write_atomically
from hands_lib.reproduce.store import order_of, results_folder
from hands_lib.reproduce.weights import weights_name

FULL, LONGEST = "q + p + p'", "init and three refinements"
BENCHMARKS = {  # table -> chapter, job
    "training speed": ("training_speed", "training speed"),
    "rendering speed": ("rendering", "rendering speed"),
    "projecting speed": ("projecting", "projecting speed"),
    "inference speed": ("inference", "inference speed"),
}
SPEEDS = {chapter for chapter, _ in BENCHMARKS.values()} | {"peers"}
GEOMETRY = (  # start of the old table's name, the new table
    ("Signed distance and closest face, ", "signed distance and closest face", ""),
    ("Signed distance, 64 different pairs, ", "signed distance of pairs", "64 pairs, "),
    ("Inside or not, 125,000 points of a grid, ", "inside or not", "125,000 grid points, "),
    ("The same for 1,000 different hands", "many different hands", "1,000 hands"),
    ("Rasterising two hands, ", "rasterising two hands", ""),
)
# the data set of a job, where some of its tables are about another one
MAIN = {"tables": "two_hands_v1, stand-in estimates", "studies": "signing_v1, four stand-ins"}


def place(record):
    """(table, row) of the new line."""
    if record["slug"] != "geometry":
        return record["table"], record["variant"]
    for start, table, row in GEOMETRY:
        if record["table"].startswith(start):
            return table, row + record["table"].removeprefix(start)
    raise ValueError(record["table"])


def chapter_and_job(record):
    slug, table, row = record["slug"], record["table"], record["variant"]
    if slug == "geometry":
        return "peers", "geometry"
    if table in BENCHMARKS:
        return BENCHMARKS[table]
    if table == "fit error":
        return "real_captures", record["dataset"]
    if table == "mesh size":
        return "hand_model", "mesh size"
    if table == "untangle":
        return "untangle", "untangle"
    if table == "sizes":
        return "tables", "sizes"
    (chapter,) = {name.split(":")[0].split("/")[1] for name in record["asked_by"]}
    if chapter == "tables":
        for end in ("+Ours", ", decrease", ", estimates"):
            row = row.removesuffix(end)
        return chapter, row if table == "intersections" else "CNN"
    if chapter == "studies":
        return chapter, "noise" if table == "noise in the truth" else "baseline"
    if chapter == "stages":
        if table in ("after each stage", "joints after each stage", "occlusion"):
            return chapter, LONGEST
        if row == "constant":
            return chapter, "init alone"
        return chapter, row + (", trained longer" if table == "trained longer" else "")
    if chapter == "fusion":
        return chapter, FULL if row in ("Attn. w/ Vis.", "w = 1.5 mm") else row
    if chapter == "comparison":
        return chapter, row.split(", ")[0] if table == "occlusion" else row
    if chapter == "adversarial":
        return chapter, row.rpartition(", ")[0] if table == "discriminators" else row
    return chapter, row


def joined(records):
    """One setting for all records, or the value of each row where they differ."""
    configs = [record["config"] for record in records]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    merged = {}
    for key in keys:
        own = {json.dumps(c[key], sort_keys=True): c[key] for c in configs if key in c}
        merged[key] = (
            next(iter(own.values()))
            if len(own) == 1
            else {record["variant"]: record["config"][key] for record in records if key in record["config"]}
        )
    commits = list(dict.fromkeys(record["git_commit"] for record in records))
    return merged | ({"commits": commits} if len(commits) > 1 else {})


def seconds(records):
    """Of the job: rows of one run share their start; rows that began one by one span their time."""
    ends = [datetime.fromisoformat(record["created"]) for record in records]
    starts = [end - timedelta(seconds=r["wall_time"]) for end, r in zip(ends, records, strict=True)]
    if max(starts) - min(starts) < timedelta(seconds=5):
        return max(record["wall_time"] for record in records)
    span = (max(ends) - min(starts)).total_seconds()
    return span if span < 3600 else sum(record["wall_time"] for record in records)


def line_of(slug, chapter, job, seed, profile, records, root):
    records = sorted(records, key=lambda r: (r["created"], r["wall_time"]))
    last = records[-1]
    datasets = {(r["dataset"], r["dataset_version"]) for r in records}
    main = next((d for d in sorted(datasets) if d[0] == MAIN.get(chapter)), None) or sorted(datasets)[0]
    other, rows = {}, defaultdict(dict)
    for record in records:
        table, row = place(record)
        if (record["dataset"], record["dataset_version"]) != main:
            other[table] = (record["dataset"], record["dataset_version"])
        assert row not in rows[table]
        rows[table][row] = {name: metric["value"] for name, metric in record["metrics"].items()}
    (protocol,) = {record["protocol"] for record in records}
    (steps,) = {record["steps"] for record in records}
    config = joined(records)
    parameters, inputs = preset_parameters(slug, chapter, profile, root), {}
    if parameters is None:
        assert chapter in SPEEDS, chapter
        parameters = {key: config[key] for key in config if key != "commits"}
    if chapter in ("tables", "studies", "stages") and "occupancy" in config:
        inputs = {"occupancy network": config["occupancy"]}
    if chapter == "untangle":
        inputs = {"occupancy network": config["network"]}
    if chapter == "protocols":
        inputs = {"network": config["weights"]}
    (weighty,) = [r for r in records if r["weights_sha256"]] or [None]
    return JobLine(
        format=1, slug=slug, chapter=chapter, job=job, seed=seed, profile=profile, version=1,
        commit=last["git_commit"], dataset=main[0], dataset_version=main[1], dataset_of=other,
        protocol=protocol, parameters=parameters, inputs=inputs, config=config, steps=steps,
        seconds=seconds(records), device=last["device"], libraries=last["libraries"],
        created=last["created"], rows=rows,
    ), weighty  # fmt: skip


def main(old):
    root = find_root()
    jobs = defaultdict(list)
    for path in sorted(old.glob("*/*.json")):
        record = json.loads(path.read_text())
        if record["profile"] == "smoke":
            continue
        record["path"] = path
        chapter, job = chapter_and_job(record)
        jobs[record["slug"], chapter, job, record["seed"], record["profile"]].append(record)
    files = defaultdict(list)
    for key, records in jobs.items():
        line, weighty = line_of(*key, records, root)
        if weighty is not None and line.seed == 0:  # one seed's are enough
            source = weighty["path"].with_suffix(".safetensors")
            about = Weights(sha256=weighty["weights_sha256"], bytes=source.stat().st_size)
            line = line.model_copy(update={"weights": about})
            target = results_folder(root) / line.slug / "weights" / weights_name(line, about.sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        files[line.slug, line.chapter].append(line)
    for (slug, chapter), lines in files.items():
        texts = [line.text for line in sorted(lines, key=order_of)]
        write_atomically(results_folder(root) / slug / f"{chapter}.jsonl", "".join(f"{t}\n" for t in texts))
        print(f"{slug}/{chapter}: {len(lines)} jobs")
    print(f"{sum(map(len, jobs.values()))} records, {len(jobs)} jobs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
