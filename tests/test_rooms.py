"""A system has all its rooms: whoever adds a method adds its tests, chapter, published tables and preset."""

from pathlib import Path

from hands_lib.reproduce.chapters import Chapter, list_chapters, parameter_values
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


def missing_rooms(root: Path, chapters: list[Chapter]) -> list[str]:
    """Presets are named after chapters: one of them, and each that trains variants, has one."""
    missing = []
    presets = {path.stem for path in (root / "book" / "presets").glob("*.yml")}
    for slug in sorted(methods(root)):
        own = [chapter for chapter in chapters if chapter.slug == slug]
        training = [c.stem for c in own if "variants" in parameter_values(c)]
        tests = root / "tests" / "methods"
        rooms = {
            "a name among the systems": slug in SYSTEMS,
            f"tests/methods/test_{slug}.py": (tests / f"test_{slug}.py").is_file() or (tests / slug).is_dir(),
            f"book/published/{slug}.yml": (root / "book" / "published" / f"{slug}.yml").is_file(),
            "a chapter with this slug": bool(own),
            "a preset of one of its chapters": any(chapter.stem in presets for chapter in own),
        } | {f"book/presets/{stem}.yml": stem in presets for stem in training}
        missing += [f"{slug}: {room}" for room, there in rooms.items() if not there]
    return missing


def test_every_method_has_its_rooms() -> None:
    assert missing_rooms(ROOT, list_chapters(ROOT)) == []


def test_a_missing_room_is_seen(tmp_path: Path) -> None:
    (tmp_path / "hands_lib" / "methods").mkdir(parents=True)
    (tmp_path / "hands_lib" / "methods" / "refinement.py").touch()
    assert len(missing_rooms(tmp_path, [])) == 4


def test_presets_belong_to_chapters(tmp_path: Path) -> None:
    """Of two chapters of a system, the one that trains variants must have a preset."""
    (tmp_path / "hands_lib" / "methods").mkdir(parents=True)
    (tmp_path / "hands_lib" / "methods" / "refinement.py").touch()
    (tmp_path / "book" / "presets").mkdir(parents=True)
    page = "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\n---\n\n"
    page += "# Title\n\n```{code-cell} ipython3\n:tags: [parameters]\n\nprofile = 'smoke'\nNAME = []\n```\n"
    chapters = []
    for stem, name in (("losses", "variants"), ("fits", "folders")):
        path = tmp_path / "book" / f"{stem}.md"
        path.write_text(page.replace("NAME", name), encoding="utf-8")
        chapters.append(Chapter(stem, path, "Title", "refinement", back_matter=False))

    def about_presets() -> list[str]:
        return [text for text in missing_rooms(tmp_path, chapters) if "preset" in text]

    whole, own = "refinement: a preset of one of its chapters", "refinement: book/presets/losses.yml"
    assert about_presets() == [whole, own]
    (tmp_path / "book" / "presets" / "fits.yml").touch()
    assert about_presets() == [own]
    (tmp_path / "book" / "presets" / "losses.yml").touch()
    assert about_presets() == []


def test_published_tables_belong_to_a_system() -> None:
    """All nine, also before their methods are here: a claim that nobody tried yet is shown as not run. What
    stands in a file without a source is this book's own measurement."""
    found = read_all_published(ROOT)
    assert {one.slug for one in found if one.source} == SYSTEMS
    assert {one.slug for one in found if not one.source} == {"geometry"}


def test_every_source_is_in_the_bibliography() -> None:
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for found in read_all_published(ROOT):
        assert not found.source or f"{{{found.source}," in text
