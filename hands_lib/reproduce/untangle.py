"""`hands untangle IN OUT`: a file of hand pairs in, the same file with poses that do not intersect out.

Units   as the file says; millimetres in reports

The input is only ever read. The output is written whole or not at all, and replaces nothing unless asked to.
The method stands in `methods.intersections.untangle`, the file format in `data.hand_pair_files`.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.data.hand_pair_files import HandPairFile, read_hand_pairs, write_hand_pairs
from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings
from hands_lib.methods.intersections.untangle import Untangled, UntangleSettings, untangle
from hands_lib.reproduce.project import ProjectError, remove_leftovers, replacing
from hands_lib.reproduce.trained import load_weights, trained

NETWORK = "intersections", "occupancy", "validation, palm frame"
"""Slug, chapter and name of the job that left the occupancy network's weights."""


def untangle_file(
    source: Path,
    target: Path,
    settings: UntangleSettings | None = None,
    *,
    order: str | None = None,
    unit: str | None = None,
    sequence: bool = False,
    device: str = "cpu",
    report: Path | None = None,
    force: bool = False,
    root: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Untangles every frame that has both hands; the other frames are copied as they are, and counted.

    order, unit  what the file has to say of itself; None takes its word
    sequence     the frames are one motion: corrections are spread over neighbouring frames
    report       where to write the returned report as JSON
    root         checkout in which jobs are looked for (methods with the network)

    Raises ProjectError, which names the file and the mend, for files in each other's way, a device that is
    not there and a missing network; DataError as `read_hand_pairs` does.
    """
    started = time.time()
    settings = settings or UntangleSettings()
    _check_paths(source, target, report, force)
    chosen = _device(device)
    given = read_hand_pairs(source)
    for name, asked, own in (("order", order, given.order), ("unit", unit, given.unit)):
        if asked is not None and asked != own:
            raise ProjectError(
                f"{source}: {name} is {own!r} in the file, but {asked!r} was asked for: correct one of them"
            )
    occupancy = None if settings.method == "distance" else load_network(root).to(chosen)
    rows = given.complete.nonzero()[:, 0]
    joints, confidence = (values[rows].to(chosen) for values in (given.joints, given.confidence))
    # Before the work: what cannot be written is found now, and stands nowhere half-written.
    with _created(target) as unfinished, _created(report) as unfinished_report:
        result, seconds = _timed(joints, confidence, rows, sequence, settings, occupancy, quiet)
        outcome = given.joints.clone()
        outcome[rows] = result.joints.to(outcome)
        write_hand_pairs(unfinished, replace(given, joints=outcome))
        content = _report(source, target, given, result, rows, settings, seconds, time.time() - started)
        if report is not None:
            unfinished_report.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content


@contextmanager
def _created(path: Path | None) -> Iterator[Path | None]:
    """A file in the same folder that takes the place of `path` when the block ends without an error."""
    if path is None:
        yield None
        return
    remove_leftovers(path.absolute().parent)
    with replacing(path, suffix=path.suffix) as unfinished:
        yield unfinished


def report_text(report: Mapping[str, Any]) -> str:
    """A few lines for people."""
    skipped = ", ".join(f"{count} {reason}" for reason, count in report["skipped"].items() if count)
    shares = [report[f"share_intersecting_{when}"] for when in ("before", "after")]
    volumes = [report[f"volume_{when}_cm3"] for when in ("before", "after")]
    mean, most = report["mean_displacement_of_changed_mm"], report["max_displacement_mm"]
    lines = [
        f"{report['frames']} frames, {report['pairs']} with both hands; skipped: {skipped or 'none'}",
        f"intersecting: {report['intersecting_before']} pairs ({shares[0]:.1%}) before, "
        f"{report['intersecting_after']} ({shares[1]:.1%}) after",
        f"shared volume: {volumes[0]:.2f} cm3 before, {volumes[1]:.2f} cm3 after",
        f"{report['changed_pairs']} pairs changed: joints moved {mean:.2f} mm (mean), {most:.2f} mm at most",
        f"{report['pairs_per_second']:.1f} pairs/s on {report['device']}",
    ]
    if report["unsolved_frames"]:
        lines.append(f"not solved: frames {', '.join(map(str, report['unsolved_frames']))}")
    if report["mpjpe_before_mm"] is not None:
        before, after = report["mpjpe_before_mm"], report["mpjpe_after_mm"]
        lines.append(f"mean joint error to the file's truth: {before:.2f} mm before, {after:.2f} mm after")
    return "\n".join(lines)


def load_network(root: Path | None = None) -> OccupancyNetwork:
    """The recorded occupancy network, frozen and in evaluation mode.

    Raises ProjectError where no job has left its weights; the message names the command that makes it.
    """
    line = trained(*NETWORK, root=root)
    network = OccupancyNetwork(OccupancySettings(**line.config["network"]))
    network.load_state_dict(load_weights(line, root))
    return network.eval().requires_grad_(False)


def _timed(
    joints: Tensor,
    confidence: Tensor,
    rows: Tensor,
    sequence: bool,
    settings: UntangleSettings,
    occupancy: OccupancyNetwork | None,
    quiet: bool,
) -> tuple[Untangled, float]:
    """All pairs, with a progress bar; and the seconds that it took."""
    # A gap in the frames ends a motion.
    motion = (torch.nn.functional.pad(rows.diff(), (1, 0), value=1) != 1).cumsum(dim=0) if sequence else None
    started = time.perf_counter()
    with tqdm(total=len(joints), unit=" pairs", desc="untangle", disable=quiet) as bar:
        result = untangle(
            joints,
            confidence,
            None if motion is None else motion.to(joints.device),
            settings,
            occupancy,
            progress=bar.update,
        )
    return result, time.perf_counter() - started


def _report(
    source: Path,
    target: Path,
    given: HandPairFile,
    result: Untangled,
    rows: Tensor,
    settings: UntangleSettings,
    seconds: float,
    all_seconds: float,
) -> dict[str, Any]:
    errors: list[float | None] = [None, None]
    if given.truth is not None:
        truth = given.truth[rows]
        known = truth.isfinite().flatten(1).all(dim=1)
        if bool(known.any()):
            poses = given.joints[rows], result.joints.cpu().to(truth)
            errors = [1000 * float((pose - truth)[known].norm(dim=-1).mean()) for pose in poses]
    device = result.joints.device
    return {
        "input": str(source),
        "input_sha256": given.sha256,
        "output": str(target),
        "order": given.order,
        "unit": given.unit,
        "settings": asdict(settings),
        "frames": len(given.joints),
        "skipped": dict(given.skipped.reasons) if given.skipped else {},
        **result.report(),
        "unsolved_frames": rows.to(device)[result.unsolved].tolist(),
        "mpjpe_before_mm": errors[0],
        "mpjpe_after_mm": errors[1],
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {torch.get_num_threads()} threads",
        "seconds": all_seconds,
        "pairs_per_second": len(rows) / seconds if seconds > 0 else math.nan,
    }


def _check_paths(source: Path, target: Path, report: Path | None, force: bool) -> None:
    outputs = [path for path in (target, report) if path is not None]
    for path in outputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise ProjectError(f"{path} is the input: the input is never written to; name another output")
        if path.is_dir():
            raise ProjectError(f"{path} is a folder: name a file in it")
        if not path.absolute().parent.is_dir():
            raise ProjectError(f"{path.parent} is no folder, so {path} cannot be written: make it first")
        if path.exists() and not force:
            raise ProjectError(f"{path} is there already: name another file, or say --force to replace it")
    if report is not None and report.resolve() == target.resolve():
        raise ProjectError(f"{report} is asked for as output and as report: name two files")
    if target.suffix not in (".npz", ".json"):
        raise ProjectError(
            f"{target} is to be written as {target.suffix or 'nothing'}: end it in .npz or .json"
        )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ProjectError(f"there is no device {name!r} here: say --device cpu") from error
    return device
