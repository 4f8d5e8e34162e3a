"""Triangle meshes in the formats that people have: OBJ, OFF and PLY as text.

Units   whatever the file has: none of the formats says
Frame   the file's

A reader of geometry alone: normals, textures, colours and materials are passed over. Faces with more corners
than three become fans. What a mesh is good for (closed, welded, turned the right way) is asked elsewhere.
"""

from pathlib import Path

import numpy as np
import torch

from hands_lib.data.errors import DataError, MissingData, shown
from hands_lib.plain_files import read_plain
from hands_lib.structures import Mesh

FORMATS = (".obj", ".off", ".ply")
_LARGEST = 1 << 30  # bytes


def read_mesh(path: str | Path) -> Mesh:
    """Vertices (vertex, 3) in float64 and faces of one mesh file.

    Raises MissingData where it is not there, DataError where it is none of FORMATS, binary, broken or without
    faces; the message names the file, and the line where there is one.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path} is none of {', '.join(FORMATS)}: convert it, or give its name that ending")
    try:
        raw = read_plain(path, _LARGEST)
    except FileNotFoundError:
        raise MissingData(f"{path} is missing: look at its name") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its name") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    try:
        lines = bytes(raw).decode("utf-8", errors="replace").splitlines()
        points, corners = {".obj": _obj, ".off": _off, ".ply": _ply}[path.suffix.lower()](lines)
        vertices = np.array(points, dtype=np.float64).reshape(-1, 3)
    except _BrokenLine as error:
        raise DataError(f"{path}: {error}") from None
    if not corners:
        raise DataError(f"{path} has no faces: a cloud of points has no surface")
    faces = np.array([(own[0], own[k], own[k + 1]) for own in corners for k in range(1, len(own) - 1)])
    wrong = (faces < 0) | (faces >= len(vertices))
    if wrong.any():
        number = int(faces[wrong][0])
        raise DataError(
            f"{path}: a face names vertex {number} (counted from 0), of {len(vertices)}: get it again"
        )
    if not np.isfinite(vertices).all():
        raise DataError(f"{path}: a vertex is not finite: get the file again")
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces).long())


class _BrokenLine(ValueError):
    def __init__(self, number: int, line: str, why: str):
        super().__init__(f"line {number + 1} {shown(line)} {why}")


def _numbers(number: int, line: str, words: list[str], count: int) -> list[float]:
    try:
        return [float(words[k]) for k in range(count)]
    except (ValueError, IndexError):
        raise _BrokenLine(number, line, f"does not start with {count} numbers: get the file again") from None


def _whole(number: int, line: str, words: list[str]) -> list[int]:
    try:
        found = [int(word) for word in words]
    except ValueError:
        raise _BrokenLine(number, line, "does not hold whole numbers: get the file again") from None
    if len(found) < 3:
        raise _BrokenLine(number, line, "has fewer than three corners: get the file again")
    return found


def _obj(lines: list[str]) -> tuple[list[list[float]], list[list[int]]]:
    points: list[list[float]] = []
    corners: list[list[int]] = []
    for number, line in enumerate(lines):
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            points.append(_numbers(number, line, words[1:], 3))
        elif words[0] == "f":
            own = _whole(number, line, [word.split("/")[0] for word in words[1:]])
            # From 1; negative ones count back from the last vertex so far.
            corners.append([c - 1 if c > 0 else len(points) + c for c in own])
    return points, corners


def _off(lines: list[str]) -> tuple[list[list[float]], list[list[int]]]:
    kept = [(n, line) for n, line in enumerate(lines) if line.split("#")[0].strip()]
    if not kept or not kept[0][1].split()[0].endswith("OFF"):
        raise _BrokenLine(0, lines[0] if lines else "", "is not OFF: get the file again")
    head = kept[0][1].split()[1:]
    rest = kept[1:] if not head else [(kept[0][0], " ".join(head)), *kept[1:]]
    return _counted(rest[1:], *(int(v) for v in _numbers(*rest[0], rest[0][1].split(), 2)))


def _ply(lines: list[str]) -> tuple[list[list[float]], list[list[int]]]:
    if not lines or lines[0].strip() != "ply":
        raise _BrokenLine(0, lines[0] if lines else "", "is not PLY: get the file again")
    counts = {"vertex": 0, "face": 0}
    for number, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["format"] and words[1:2] != ["ascii"]:
            raise _BrokenLine(number, line, "is binary PLY: save it as text (ascii), or as OBJ")
        if words[:1] == ["element"] and words[1:2] and words[1] in counts:
            counts[words[1]] = int(_numbers(number, line, words[2:], 1)[0])
        if words[:1] == ["end_header"]:
            body = [(n + number + 1, own) for n, own in enumerate(lines[number + 1 :]) if own.strip()]
            return _counted(body, counts["vertex"], counts["face"])
    raise _BrokenLine(len(lines) - 1, lines[-1], "ends a header without end_header: get the file again")


def _counted(
    lines: list[tuple[int, str]], num_points: int, num_faces: int
) -> tuple[list[list[float]], list[list[int]]]:
    """So many vertices, then so many faces, each with the number of its corners first."""
    if len(lines) < num_points + num_faces:
        last = lines[-1] if lines else (0, "")
        raise _BrokenLine(*last, f"is the last of {len(lines)}, where {num_points + num_faces} belong")
    points = [_numbers(n, line, line.split(), 3) for n, line in lines[:num_points]]
    corners = []
    for number, line in lines[num_points : num_points + num_faces]:
        words = line.split()
        corners.append(_whole(number, line, words[1 : 1 + int(_numbers(number, line, words, 1)[0])]))
    return points, corners
