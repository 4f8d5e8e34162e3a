"""A system has all its rooms: whoever adds a method adds its tests, chapter, published tables and preset."""

from pathlib import Path

from hands_lib.reproduce.chapters import list_chapters
from hands_lib.reproduce.published import read_all_published

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = {
    "va_nerf",
    "intersections",
    "refinement",
    "hand_object",
    "latent_video",
    "sharp_features",
    "point_graphics",
    "dense_pose",
    "head_portraits",
}


def methods(root: Path) -> set[str]:
    """The slugs that have a method: a file or a folder in `hands_lib/methods`."""
    folder = root / "hands_lib" / "methods"
    return {p.stem for p in folder.glob("*") if p.suffix == ".py" or (p / "__init__.py").is_file()} - {
        "__init__"
    }


def missing_rooms(root: Path, chapters: set[str]) -> list[str]:
    missing = []
    for slug in sorted(methods(root)):
        tests = root / "tests" / "methods"
        rooms = {
            "a name among the systems": slug in SYSTEMS,
            f"tests/methods/test_{slug}.py": (tests / f"test_{slug}.py").is_file() or (tests / slug).is_dir(),
            f"book/published/{slug}.yml": (root / "book" / "published" / f"{slug}.yml").is_file(),
            f"book/presets/{slug}.yml": (root / "book" / "presets" / f"{slug}.yml").is_file(),
            "a chapter with this slug": slug in chapters,
        }
        missing += [f"{slug}: {room}" for room, there in rooms.items() if not there]
    return missing


def test_every_method_has_its_rooms() -> None:
    assert missing_rooms(ROOT, {chapter.slug for chapter in list_chapters(ROOT)}) == []


def test_a_missing_room_is_seen(tmp_path: Path) -> None:
    (tmp_path / "hands_lib" / "methods").mkdir(parents=True)
    (tmp_path / "hands_lib" / "methods" / "refinement.py").touch()
    assert len(missing_rooms(tmp_path, set())) == 4


def test_published_tables_belong_to_a_system() -> None:
    """All nine, also before their methods are here: a claim that nobody tried yet is shown as not run."""
    assert {found.slug for found in read_all_published(ROOT)} == SYSTEMS


def test_every_source_is_in_the_bibliography() -> None:
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for found in read_all_published(ROOT):
        assert f"{{{found.source}," in text
