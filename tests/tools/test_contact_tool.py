"""`hands contact`: meshes as people have them, against the same meshes clean; and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from hands_lib.data.errors import DataError
from hands_lib.data.mesh_files import read_mesh
from hands_lib.geometry.closed_surface import closed_surface_report, enclosed_volume
from hands_lib.reproduce.command import main
from hands_lib.structures import Mesh
from hands_lib.tools.contact import contact_files, measure_contact, mended, read_motion


def ball(radius: float = 0.03, at: tuple[float, float, float] = (0, 0, 0), finer: int = 3) -> Mesh:
    solid = trimesh.creation.icosphere(finer, radius)
    return Mesh(torch.tensor(solid.vertices) + torch.tensor(at), torch.tensor(solid.faces))


def soup(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(torch.cat([mesh.vertices for mesh in meshes]), torch.cat(faces))


def torn(mesh: Mesh) -> Mesh:
    """Every face with vertices of its own: all edges are seams."""
    return Mesh(mesh.vertices[mesh.faces].flatten(0, 1), torch.arange(3 * len(mesh.faces)).view(-1, 3))


def written(mesh: Mesh, path: Path) -> Path:
    text = "".join(f"v {x!r} {y!r} {z!r}\n" for x, y, z in mesh.vertices.tolist())
    text += "".join(f"f {a}/1/{a} {b}/2/{b} {c}/3/{c}\n" for a, b, c in (mesh.faces + 1).tolist())
    path.write_text("# a comment\nmtllib none.mtl\nvn 0 0 1\nvt 0 0\n" + text)
    return path


@pytest.fixture(scope="module")
def pair() -> tuple[Mesh, Mesh]:
    """Two balls of 30 mm whose surfaces overlap by 10 mm."""
    return ball(), ball(at=(0.05, 0, 0))


def test_two_balls_by_files_have_the_depth_and_volume_of_a_lens(tmp_path, pair, capsys) -> None:
    a, b = (written(mesh, tmp_path / f"{name}.obj") for mesh, name in zip(pair, "ab", strict=True))
    report, picture = tmp_path / "report.json", tmp_path / "picture.png"
    before = a.read_bytes()
    assert main(["contact", str(a), str(b), "--report", str(report), "--picture", str(picture)]) == 0
    content = json.loads(report.read_text())
    assert content["depth_of_a_in_b"]["deepest"][0] == pytest.approx(0.010, abs=3e-4)
    lens = math.pi * 0.01**2 * (6 * 0.03 - 0.01) / 12
    assert content["volume"]["volume"][0] == pytest.approx(lens, rel=0.04)  # of balls with 1,280 faces
    assert content["contact"]["below_zero"] == [True]
    assert "deepest" in capsys.readouterr().out
    pixels = np.asarray(Image.open(picture)).reshape(-1, 3).astype(int)
    assert ((pixels[:, 0] > 150) & (pixels[:, 1] < 80) & (pixels[:, 2] < 80)).sum() > 200  # the part within
    assert a.read_bytes() == before
    assert main(["contact", str(a), str(b), "--report", str(report)]) == 1
    assert f"{report} is there already" in capsys.readouterr().err


def test_units_scale(tmp_path, pair) -> None:
    a, b = (
        written(Mesh(1000 * mesh.vertices, mesh.faces), tmp_path / f"{name}.obj")
        for mesh, name in zip(pair, "ab", strict=True)
    )
    report, _ = measure_contact(*pair)
    in_mm = contact_files(a, b, unit="mm")
    torch.testing.assert_close(in_mm.depths.deepest, report.depths.deepest)
    with pytest.raises(DataError, match="unknown unit 'inch'"):
        contact_files(a, b, unit="inch")


def test_seams_unused_vertices_and_inverted_parts_are_mended_with_a_word(pair) -> None:
    clean, _ = measure_contact(*pair)
    first = torn(pair[0])
    first = Mesh(torch.cat([first.vertices, torch.full((3, 3), 5.0, dtype=torch.double)]), first.faces)
    far = ball(0.01, (0, 0.2, 0), 1)
    broken = soup(first, Mesh(far.vertices, far.faces.flip(-1)))
    found, _ = measure_contact(broken, pair[1])
    torch.testing.assert_close(found.depths.deepest, clean.depths.deepest)
    torch.testing.assert_close(found.volumes.volume, clean.volumes.volume)
    words = "; ".join(found.words["A"])
    assert "left out 3 vertices" in words
    assert "welded" in words
    assert "turned 1 of 2 parts" in words
    assert found.words["B"] == ()


def test_a_cavity_stays_a_cavity() -> None:
    inner = ball(0.02)
    hollow = soup(ball(0.03), Mesh(inner.vertices, inner.faces.flip(-1)))
    own = mended(hollow, "hollow")
    assert own.words == ()
    assert own.mesh.vertices.shape == (1, len(hollow.vertices), 3)


def test_a_hole_is_closed_and_a_sheet_refused(pair) -> None:
    mesh = pair[0]
    top = (mesh.vertices[mesh.faces][..., 2] > 0.026).any(dim=1)
    own = mended(Mesh(mesh.vertices, mesh.faces[~top]), "cup")
    assert closed_surface_report(Mesh(own.mesh.vertices[0], own.mesh.faces)).is_closed
    assert "closed a hole of" in own.words[-1]
    assert 0.8 < float(enclosed_volume(own.mesh)[0] / enclosed_volume(mesh)) < 1
    half = (mesh.vertices[mesh.faces][..., 2] > 0).any(dim=1)
    with pytest.raises(DataError, match="bowl is a sheet and no solid"):
        mended(Mesh(mesh.vertices, mesh.faces[~half]), "bowl")


def test_faces_against_each_other_are_refused(pair) -> None:
    faces = pair[0].faces.clone()
    faces[::7] = faces[::7].flip(-1)
    with pytest.raises(DataError, match="odd: .* edges lack a face .* orient and repair"):
        mended(Mesh(pair[0].vertices, faces), "odd")


def test_motions_are_measured_frame_by_frame(tmp_path, pair) -> None:
    shifts = (0.0, 0.004, 0.02)
    folder = tmp_path / "motion"
    folder.mkdir()
    for n, shift in enumerate(shifts):
        moved = Mesh(pair[0].vertices - torch.tensor([shift, 0, 0]), pair[0].faces)
        written(moved, folder / f"{n:03d}.obj")
    still = written(pair[1], tmp_path / "b.obj")
    found = contact_files(folder, still)
    expected = [max(0.010 - shift, 0) for shift in shifts]
    assert found.depths.deepest.tolist() == pytest.approx(expected, abs=3e-4)
    assert found.contacts.below_zero.tolist() == [True, True, False]
    written(ball(finer=1), folder / "003.obj")
    with pytest.raises(DataError, match=r"003.obj has other vertices or faces than 000.obj"):
        read_motion(folder)


def test_formats_agree(tmp_path, pair) -> None:
    solid = trimesh.Trimesh(pair[0].vertices.numpy(), pair[0].faces.numpy(), process=False)
    expected = read_mesh(written(pair[0], tmp_path / "m.obj"))
    for name in ("m.off", "m.ply"):
        kind = {"encoding": "ascii"} if name.endswith("ply") else {}
        (tmp_path / name).write_bytes(_bytes(solid.export(file_type=name[2:], **kind)))
        found = read_mesh(tmp_path / name)
        torch.testing.assert_close(found.vertices, expected.vertices, atol=1e-8, rtol=0)
        assert torch.equal(found.faces, expected.faces)


def _bytes(given: str | bytes) -> bytes:
    return given.encode() if isinstance(given, str) else given


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", b"v 0 0 0\n", "has no faces"),
        ("a.obj", b"v 0 0\nf 1 1 1\n", "line 1 'v 0 0' does not start with 3 numbers"),
        ("a.obj", b"v 0 0 0\nf 1 2 3\n", "names vertex 1 .* of 1"),
        ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n", "where 4 belong"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\n", "is binary PLY"),
        ("a.stl", b"solid", "is none of"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_mesh(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path, capsys) -> None:
    assert main(["contact", str(tmp_path / "no.obj"), str(tmp_path)]) == 1
    assert "no.obj is missing" in capsys.readouterr().err
    with pytest.raises(DataError, match="holds no .obj"):
        read_motion(tmp_path)
