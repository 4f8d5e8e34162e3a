"""`hands untangle IN OUT`: a file of hand pairs in, the same file with poses that do not intersect out.

Units   as the file says; millimetres in reports

The input is only ever read. The output is written whole or not at all, and replaces nothing unless asked to.
The method stands in `methods.intersections.untangle`, the file format in `data.hand_pair_files`.
"""

import hashlib
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

from hands_lib.data.hand_pair_files import HandPairFile, order_named, read_hand_pairs, write_hand_pairs
from hands_lib.data.hand_shapes import bent_beyond, shared_centre
from hands_lib.methods.intersections.occupancy import OccupancyNetwork
from hands_lib.methods.intersections.recorded_network import recorded_network
from hands_lib.methods.intersections.untangle import Untangled, UntangleSettings, untangle
from hands_lib.reproduce.checkpoints import load_checkpoint, save_checkpoint
from hands_lib.reproduce.project import ProjectError, remove_leftovers, replacing
from hands_lib.reproduce.trained import load_weights, trained
from hands_lib.structures import HandPose

NETWORK = "intersections", "occupancy", "validation, palm frame"
"""Slug, chapter and name of the job that left the occupancy network's weights."""
BLOCK = 2_048  # pairs in memory at once, and lost at most when a long call is interrupted
_CHECKED_SIDES = 64  # pairs, spread over the file
_TOO_BENT = 0.005  # metres from the nearest pose of its side (median); hands of the other have 0.01 to 0.06


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
    sequence     the frames are one motion: corrections are spread over neighbouring frames; all of them are
                 in memory at once. Else an interrupted call goes on where it was, from `OUT.unfinished`
    report       where to write the returned report as JSON
    root         checkout in which jobs are looked for (methods with the network)

    Raises ProjectError, which names the file and the mend, for files in each other's way, a device that is
    not there, hands of the wrong side and a missing network; DataError as `read_hand_pairs` does.
    """
    started = time.time()
    settings = settings or UntangleSettings()
    _check_paths(source, target, report, force)
    chosen = _device(device)
    given = read_hand_pairs(source)
    order = None if order is None else order_named(order)
    for name, asked, own in (("order", order, given.order), ("unit", unit, given.unit)):
        if asked is not None and asked != own:
            raise ProjectError(
                f"{source}: {name} is {own!r} in the file, but {asked!r} was asked for: correct one of them"
            )
    rows = given.complete.nonzero()[:, 0]
    _check_sides(source, given.joints[rows])
    warnings = _warnings(given.joints[rows])
    occupancy = None if settings.method == "distance" else load_network(root).to(chosen)
    joints, confidence = (values[rows].to(chosen) for values in (given.joints, given.confidence))
    # Before the work: what cannot be written is found now, and stands nowhere half-written.
    with _created(target) as made, _created(report) as made_report:
        unfinished = target.with_name(f"{target.name}.unfinished")
        result, seconds = _timed(joints, confidence, rows, sequence, settings, occupancy, unfinished, quiet)
        outcome = given.joints.clone()
        outcome[rows] = result.joints.to(outcome)
        write_hand_pairs(made, replace(given, joints=outcome))
        content = _report(
            source, target, given, result, rows, chosen, settings, seconds, time.time() - started
        )
        content["warnings"] = warnings
        if report is not None:
            made_report.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    unfinished.unlink(missing_ok=True)
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
    lines = [f"warning: {text}" for text in report["warnings"]]
    lines += [
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
    return recorded_network(line.config, load_weights(line, root))


def _timed(
    joints: Tensor,
    confidence: Tensor,
    rows: Tensor,
    sequence: bool,
    settings: UntangleSettings,
    occupancy: OccupancyNetwork | None,
    unfinished: Path,
    quiet: bool,
) -> tuple[Untangled, float]:
    """All pairs, block by block, with a progress bar; and the seconds that it took. What an interrupted call
    left in `unfinished` is taken over where it belongs to the same hands and settings."""
    # A gap in the frames ends a motion.
    motion = (torch.nn.functional.pad(rows.diff(), (1, 0), value=1) != 1).cumsum(dim=0) if sequence else None
    blocks = list(torch.arange(len(joints)).split(len(joints) + 1 if sequence else BLOCK))
    content = joints.cpu().numpy().tobytes() + confidence.cpu().numpy().tobytes()
    key = hashlib.sha256(content + repr((settings, BLOCK, joints.device.type)).encode()).hexdigest()
    kept = (load_checkpoint(unfinished) or {}) if len(blocks) > 1 else {}
    done = kept["done"] if kept.get("key") == key else []
    started = time.perf_counter()
    with tqdm(total=len(joints), unit=" pairs", desc="untangle", disable=quiet) as bar:
        bar.update(sum(len(block) for block in blocks[: len(done)]))
        for block in blocks[len(done) :]:
            own = block.to(joints.device)
            moving = None if motion is None else motion.to(joints.device)[own]
            found = untangle(joints[own], confidence[own], moving, settings, occupancy, progress=bar.update)
            done.append(_as_dict(found.to("cpu")))
            if len(blocks) > 1:
                save_checkpoint(unfinished, {"key": key, "done": done})
    return _joined(done), time.perf_counter() - started


def _as_dict(found: Untangled) -> dict[str, Any]:
    return vars(found) | {"pose": vars(found.pose)}


def _joined(blocks: list[dict[str, Any]]) -> Untangled:
    """One result of those of all blocks."""
    return Untangled.cat([Untangled(**block | {"pose": HandPose(**block["pose"])}) for block in blocks])


def _report(
    source: Path,
    target: Path,
    given: HandPairFile,
    result: Untangled,
    rows: Tensor,
    device: torch.device,
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
        "unsolved_frames": rows[result.unsolved].tolist(),
        "mpjpe_before_mm": errors[0],
        "mpjpe_after_mm": errors[1],
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {torch.get_num_threads()} threads",
        "seconds": all_seconds,
        "pairs_per_second": len(rows) / seconds if seconds > 0 else math.nan,
    }


def _check_sides(source: Path, joints: Tensor) -> None:
    """Refuses pairs of which most hands can only be of the other side.

    Raises:
        ProjectError: naming the file, what the hands seem to be, and the mend.
    """
    if not len(joints):
        return
    some = joints[torch.linspace(0, len(joints) - 1, min(len(joints), _CHECKED_SIDES)).round().long()]
    as_right, as_left = bent_beyond(some.flatten(0, 1)).view(2, -1, 2).median(dim=1).values
    own, other = torch.stack([as_right[0], as_left[1]]), torch.stack([as_left[0], as_right[1]])
    wrong = (own > _TOO_BENT) & (other < own / 3)
    if not bool(wrong.any()):
        return
    worst, best = (f"{1000 * float(values[wrong].max()):.0f}" for values in (own, other))
    far = f"{worst} mm from any pose of their side, {best} mm from one of the other"
    if bool(wrong.all()):
        raise ProjectError(
            f"{source}: right and left seem exchanged: most hands are {far}; give the right hand first"
        )
    side, taken = ("left", "right") if bool(wrong[1]) else ("right", "left")
    raise ProjectError(
        f"{source}: both hands seem to be {taken} hands: those given as {side} are {far}; "
        f"give a {side} hand, or mirror them"
    )


def _warnings(joints: Tensor) -> list[str]:
    """What makes the numbers worth little, though they can be computed."""
    centre = shared_centre(joints)
    if centre is None:
        return []
    return [
        f"both hands have the same {centre} in nearly every frame: each seems centred on itself, as "
        "MediaPipe's world landmarks are. Where they are to each other is then not known, nor what they share"
    ]


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
