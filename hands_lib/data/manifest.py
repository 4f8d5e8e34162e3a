"""Where data comes from: facts about each data set, finding it on this machine, and checking what is there.

A manifest (`data_manifests/NAME.yml`) holds facts and no bytes: licence, version, where a person gets the
data, files with size and SHA-256 where they are known, splits, units, frames, joint order, and who uses it.
The project downloads nothing; the environment variable HANDS_DATA names a folder that has one folder for each
data set.

Exit codes of `hands data check`: 0 complete, 1 not there or not usable, 2 no such data set, 3 partial (what
is there can be used, and the report names what is not).
"""

import difflib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hands_lib.data.dexycb import (
    SEQUENCES,
    SERIALS,
    SUBJECTS,
    DexYCB,
    DexYCBFrame,
    recordings,
    splits_in,
    subjects_in,
)
from hands_lib.data.errors import DataError, MissingData, named_os_errors
from hands_lib.data.freihand import COCO_FILE, FreiHand
from hands_lib.data.freihand import SPLITS as FREIHAND_SPLITS
from hands_lib.data.halo_sequence import read_halo_sequence
from hands_lib.data.ho3d import FRAMES as HO3D_FRAMES
from hands_lib.data.ho3d import HO3D, HO3DFrame
from hands_lib.data.images import missing_files
from hands_lib.data.interhand26m import InterHand26M
from hands_lib.data.interhand26m import splits_in as interhand_splits_in
from hands_lib.data.reinterhand import LIGHTINGS, ReInterHand, captures_in
from hands_lib.hand.mano import ManoError, read_mano_pickle
from hands_lib.hand.skeleton import JOINT_ORDERS
from hands_lib.plain_files import cut, open_plain
from hands_lib.plain_yaml import LONGEST, Plain, read_yaml

ENVIRONMENT_VARIABLE = "HANDS_DATA"
MANIFEST_FOLDER = Path(__file__).resolve().parents[2] / "data_manifests"
_LONGEST_PATH = 500  # characters, below the data set's folder
_DECODED_IMAGES = 16  # photographs of each split that a check decodes; all are looked for
_NAMED = 12  # incomplete folders that a check names; it counts the others
COMPLETE, UNUSABLE, UNKNOWN, PARTIAL = range(4)
"""Exit codes."""


def _relative(path: str) -> str:
    if len(path) > _LONGEST_PATH or not path.isprintable():
        raise ValueError(f"{path[:60]!r} ... is no path that a data set has")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} leaves the data set's folder")
    return path


def _joint_order(name: str) -> str:
    if name not in JOINT_ORDERS:
        raise ValueError(f"{name!r} is none of the joint orders {', '.join(JOINT_ORDERS)}")
    return name


_RelativePath = Annotated[str, AfterValidator(_relative)]
_SplitName = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_]{1,40}$")]  # part of paths
_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Licence(_Facts):
    name: _Text
    url: str | None = None
    terms: _Text


class DataFile(_Facts):
    """A file, or a folder where it has neither size nor hash. `{split}` stands for each split."""

    path: _RelativePath
    required: bool = True
    size: int | None = Field(default=None, gt=0)
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None


class Layout(_Facts):
    """One form in which the data lies on disk."""

    name: _Text
    about: _Text
    origin: str | None = None
    folder: _RelativePath | None = None
    """Below HANDS_DATA; the manifest's own folder where it is not given."""
    files: list[DataFile] = Field(min_length=1)


class Split(_Facts):
    photographs: int | None = Field(default=None, ge=0)
    note: str | None = None


class Manifest(_Facts):
    name: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]*$")]
    title: _Text
    about: _Text
    citation: _Text
    version: _Text
    licence: Licence
    homepage: Annotated[str, StringConstraints(pattern="^https?://")]
    folder: _RelativePath
    units: _Text
    frames: _Text
    joint_order: Annotated[str, AfterValidator(_joint_order)] | None = None
    """None where no hands are annotated."""
    hands: _Text | None = None
    image_size: str | None = None
    splits: dict[_SplitName, Split] = Field(min_length=1)
    layouts: list[Layout] = []
    """None where the project does not read the data: then only the folder is looked for."""
    notes: list[_Text] = []
    used_by: list[_Text]
    """Chapters, by their path in the book."""
    slugs: list[_Text]
    """The systems whose papers use it."""

    def folders(self) -> list[str]:
        """Where the data may lie below HANDS_DATA: the whole set before a sample of it."""
        return list(dict.fromkeys([self.folder, *(layout.folder or self.folder for layout in self.layouts)]))

    def origin_text(self) -> str:
        """What it is, where a person gets it, under which licence, and where to put it."""
        licence = f"{self.licence.name} ({self.licence.url})" if self.licence.url else self.licence.name
        return (
            f"{self.title}, {self.version}: {self.about}\n"
            f"get it at   {self.homepage}\n"
            f"licence     {licence}: {self.licence.terms}\n"
            f"put it in   ${ENVIRONMENT_VARIABLE}/{self.folder}, or name its folder with --root"
        )

    def text(self) -> str:
        """All facts, as a person reads them."""
        lines = [self.origin_text(), f"cite        {self.citation}", ""]
        lines += [f"{name:<12}{value}" for name, value in (
            ("units", self.units), ("frames", self.frames), ("hands", self.hands),
            ("joint order", self.joint_order), ("images", self.image_size),
        ) if value]  # fmt: skip
        lines += ["splits:"]
        for name, split in self.splits.items():
            count = f"{split.photographs:,} photographs" if split.photographs else ""
            lines.append(f"  {name:<18}" + "; ".join(part for part in (count, split.note) if part))
        for layout in self.layouts:
            lines.append(f"layout {layout.name}: {layout.about}")
            lines += [
                f"  {file.path}{'' if file.required else '  (optional)'}"
                + (f"  {file.size} bytes" if file.size else "")
                + (f"  sha256 {file.sha256}" if file.sha256 else "")
                for file in layout.files
            ]
        if self.notes:
            lines += ["notes:", *(f"  - {note}" for note in self.notes)]
        lines.append(f"used by     {', '.join([*self.used_by, *self.slugs]) or 'nothing yet'}")
        return "\n".join(lines)


def manifest_names() -> list[str]:
    """The data sets that have a manifest. Raises MissingData outside a checkout of the project."""
    if not MANIFEST_FOLDER.is_dir():
        raise MissingData(
            f"{MANIFEST_FOLDER} is not a folder: hands_lib must run from a checkout of the project "
            f"(clone it, then pip install -e .)"
        )
    return sorted(path.stem for path in MANIFEST_FOLDER.glob("*.yml"))


def load_manifest(name: str) -> Manifest:
    """The facts about one data set.

    Raises DataError for an unknown name and for a manifest that does not keep to the schema.
    """
    names = manifest_names()
    if name not in names:
        wanted = name.lower()
        close = [known for known in names if wanted and known.startswith(wanted)]
        close = close or difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DataError(f"no data set is called {name!r}; {hint}there are {', '.join(names)}")
    path = MANIFEST_FOLDER / f"{name}.yml"
    try:
        with open_plain(path, 4 * LONGEST) as file:
            manifest = Manifest.model_validate(_with_nothing(read_yaml(file.read().decode())))
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): restore it with git") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}): save it as UTF-8") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = cut(".".join(str(part) for part in first["loc"])) or "the whole file"
        raise DataError(f"{path}: {place}: {cut(first['msg'])} ({error.error_count()} such faults)") from None
    except ValueError as error:
        raise DataError(f"{path} {error}: mend it") from None
    if manifest.name != name:
        raise DataError(f"{path} says that its name is {manifest.name!r}: rename the file or the data set")
    return manifest


def _with_nothing(value: Any) -> Any:
    """Text as it stands, but None for `null` and for what is left out."""
    if isinstance(value, list):
        return [_with_nothing(part) for part in value]
    if isinstance(value, dict):
        return {key: _with_nothing(part) for key, part in value.items()}
    return None if isinstance(value, Plain) and value in ("", "~", "null") else value


@named_os_errors("the folder of the data")
def find_data(name: str, root: str | Path | None = None) -> Path | None:
    """Folder of a data set on this machine, or None where nothing of it is known.

    `root`, if given, is that folder. Otherwise it is looked for below the folder that HANDS_DATA names: the
    whole data set first, then a sample. A `root` or a HANDS_DATA that is no folder raises MissingData: who
    names a folder wants it to be used.
    """
    manifest = load_manifest(name)
    if root is not None:
        if not Path(root).is_dir():
            raise MissingData(f"{root} is not a folder, so {manifest.title} cannot be read from it")
        return Path(root)
    base = os.environ.get(ENVIRONMENT_VARIABLE)
    if not base:
        return None
    if not Path(base).is_dir():
        raise MissingData(f"{ENVIRONMENT_VARIABLE} names {base}, which is no folder: correct it or unset it")
    candidates = (Path(base) / folder for folder in manifest.folders())
    return next((folder for folder in candidates if folder.is_dir()), None)


def require_data(name: str, root: str | Path | None = None) -> Path:
    """`find_data`, but MissingData, with all that a person needs to get the data, instead of None."""
    found = find_data(name, root)
    if found is None:
        manifest = load_manifest(name)
        base = os.environ.get(ENVIRONMENT_VARIABLE)
        where = (
            "there is no " + " and no ".join(str(Path(base) / folder) for folder in manifest.folders())
            if base
            else f"no --root was given and ${ENVIRONMENT_VARIABLE} is not set"
        )
        raise MissingData(f"{manifest.title} is not on this machine: {where}\n\n{manifest.origin_text()}")
    return found


@dataclass(frozen=True)
class CheckReport:
    """What a data set's folder holds, measured against its manifest. Paths are relative to `root`."""

    manifest: Manifest
    root: Path
    layout: Layout | None
    present: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Required, and not there."""
    optional: list[str] = field(default_factory=list)
    """Not there, and not needed."""
    partial: list[str] = field(default_factory=list)
    """Not there, and the rest can be used without."""
    corrupt: list[str] = field(default_factory=list)
    """There, and not what it should be: path and reason."""
    contents: list[str] = field(default_factory=list)
    """What the reader found inside."""

    @property
    def code(self) -> int:
        """Exit code."""
        return UNUSABLE if self.missing or self.corrupt else PARTIAL if self.partial else COMPLETE

    @property
    def ok(self) -> bool:
        """Whether everything that is there can be used, even if it is not everything."""
        return self.code in (COMPLETE, PARTIAL)

    def text(self) -> str:
        layout = f" (layout: {self.layout.name}, {self.layout.about})" if self.layout else ""
        parts = [f"{self.manifest.title} in {self.root}{layout}"]
        for title, lines in (
            ("there", self.present),
            ("contents", self.contents),
            ("not there, optional", self.optional),
            ("PARTIAL: not there, the rest can be used", self.partial),
            ("MISSING", self.missing),
            ("CORRUPT", self.corrupt),
        ):
            if lines:
                parts.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
        parts.append(self.manifest.origin_text())
        read = " and can be read" if self.contents else ""
        parts.append(
            {
                COMPLETE: f"complete: everything that is needed is there{read}",
                PARTIAL: "partial: what is there can be used; what is named above is not there",
                UNUSABLE: f"NOT usable: {len(self.missing)} missing, {len(self.corrupt)} corrupt",
            }[self.code]
        )
        return "\n\n".join(parts)


@named_os_errors("the folder of the data")
def check(name: str, root: str | Path | None = None) -> CheckReport:
    """Compares a data set's folder with its manifest, and reads it where the library has a reader.

    Files with a known size or hash are compared with it. Raises MissingData where there is no folder at all.
    """
    manifest = load_manifest(name)
    folder = require_data(name, root)
    if not manifest.layouts:
        report = CheckReport(manifest, folder, None)
        there = [path for path in folder.iterdir() if not path.name.startswith(".")]  # as .DS_Store
        (report.present if there else report.missing).append(
            f"{len(there)} file{'s' * (len(there) > 1)} or folder{'s' * (len(there) > 1)}"
            if there
            else "the data: the folder is empty"
        )
        return report
    layout = max(manifest.layouts, key=lambda layout: _share_present(manifest, layout, folder))
    report = CheckReport(manifest, folder, layout)
    splits = [split for split in manifest.splits if _split_is_there(layout, split, folder)]
    if not splits:
        splits = list(manifest.splits)[-1:]  # nothing there: ask for the smallest useful part, one split
    for file in layout.files:
        for path in dict.fromkeys(file.path.replace("{split}", split) for split in splits):
            _check_file(report, file, path)
    if report.missing:
        return report  # the reader would only say the same again
    if read := _READERS.get(name):
        read(report)
    return report


def check_command(name: str, root: str | None) -> tuple[str, int]:
    """Text and exit code of `hands data check NAME --root DIR`; the module's header says what codes mean."""
    try:
        load_manifest(name)
    except DataError as error:
        return f"hands: {error}", UNKNOWN
    try:
        report = check(name, root)
    except MissingData as error:
        manifest = load_manifest(name)
        text = str(error)
        return f"{text}\n\n{manifest.origin_text()}" if manifest.homepage not in text else text, UNUSABLE
    return report.text(), report.code


def show_command(name: str) -> tuple[str, int]:
    """Text and exit code of `hands data show NAME`."""
    try:
        return load_manifest(name).text(), COMPLETE
    except DataError as error:
        return f"hands: {error}", UNKNOWN


def list_command() -> tuple[str, int]:
    """Text and exit code of `hands data list`: every data set, its licence, and whether it is here."""
    rows = [("name", "data set", "licence", "here")]
    try:
        for name in manifest_names():
            manifest = load_manifest(name)
            found = find_data(name)
            rows.append((name, manifest.title, manifest.licence.name, str(found) if found else "-"))
    except DataError as error:
        return f"hands: {error}", UNUSABLE
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines), COMPLETE


def _share_present(manifest: Manifest, layout: Layout, root: Path) -> float:
    paths = [
        file.path.replace("{split}", split)
        for file in layout.files
        for split in (manifest.splits if "{split}" in file.path else [""])
    ]
    return sum((root / path).exists() for path in paths) / len(paths)


def _split_is_there(layout: Layout, split: str, root: Path) -> bool:
    paths = [file.path.replace("{split}", split) for file in layout.files if "{split}" in file.path]
    return any((root / path).exists() for path in paths)


def _check_file(report: CheckReport, file: DataFile, relative: str) -> None:
    path = report.root / relative
    if not path.exists():
        (report.missing if file.required else report.optional).append(relative)
        return
    if path.is_dir():
        report.present.append(f"{relative}/")
        return
    try:
        with open_plain(path) as opened:
            size = os.fstat(opened.fileno()).st_size
            fault = None
            if file.size is not None and size != file.size:
                fault = f"{size} bytes instead of {file.size}"
            elif size == 0:
                fault = "empty"
            elif file.sha256 and hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                fault = "its SHA-256 is not that of the manifest"
    except OSError as error:
        fault = f"it cannot be read ({error.strerror})"
    if fault:
        report.corrupt.append(f"{relative}: {fault}: get it again")
    else:
        report.present.append(relative)


def _read_interhand26m(report: CheckReport) -> None:
    for split in interhand_splits_in(report.root):
        try:
            dataset = InterHand26M(report.root, split)
            steps = dataset.skeletons()
            # These read further files, which may be damaged too.
            first = dataset[0]
        except DataError as error:
            report.corrupt.append(str(error))
            continue
        hands = int(steps.joint_valid.any(dim=-1).sum())
        report.contents.append(
            f"{split}: {len(dataset)} photographs of {len(steps.joints)} time steps, {hands} hands, "
            f"{int(steps.joint_valid.sum())} valid joints"
        )
        if first.mano is not None or dataset.file("MANO_NeuralAnnot").exists():
            report.contents.append(f"{split}: MANO fits: {dataset.usable(photograph=False, mano=True)[1]}")
        absent = [f"{folder}: {lost} of {total}" for folder, (lost, total) in dataset.missing().items()]
        if absent:
            lost = len(dataset) - len(dataset.present())
            report.partial.append(f"{split}: {lost} of {len(dataset)} photographs are missing")
            report.partial.extend(f"{split}: {line}" for line in absent[:_NAMED])
            if len(absent) > _NAMED:
                report.partial.append(f"{split}: and in {len(absent) - _NAMED} more folders")
        present = dataset.present()
        _decode(report, split, [lambda n=n, d=present: d[n].image() for n in _some(len(present))])


def _read_reinterhand(report: CheckReport) -> None:
    for capture in captures_in(report.root):
        for cameras in ("studio", "ego"):
            for lighting in LIGHTINGS:
                try:
                    dataset = ReInterHand(report.root, capture, cameras=cameras, lighting=lighting)
                except MissingData:
                    continue  # a capture may be there under one lighting only
                except DataError as error:
                    report.corrupt.append(str(error))
                    continue
                label = f"{capture}, {cameras}, {lighting}"
                report.contents.append(f"{label}: {dataset.skipped}")
                _decode(report, label, [lambda d=dataset, n=n: d[n].image() for n in _some(len(dataset))])
    if not report.contents and not report.corrupt:
        report.missing.append("a capture with photographs, below data/")


def _read_freihand(report: CheckReport) -> None:
    splits = ["sample"] if (report.root / COCO_FILE).is_file() else list(FREIHAND_SPLITS)
    for split in splits:
        try:
            dataset = FreiHand(report.root, split)
        except MissingData:
            continue  # one split is enough
        except DataError as error:
            report.corrupt.append(str(error))
            continue
        report.contents.append(f"{split}: {len(dataset)} photographs")
        chosen = _present(report, split, {"photographs": dataset.image_paths()})
        _decode(report, split, [lambda n=n, d=dataset: d[n].image() for n in chosen])


def _read_ho3d(report: CheckReport) -> None:
    version = "v3" if report.manifest.name == "ho3d_v3" else "v2"
    for split, published in HO3D_FRAMES[version].items():
        try:
            dataset = HO3D(report.root, split, version=version)
        except MissingData:
            continue  # one split is enough
        except DataError as error:
            report.corrupt.append(str(error))
            continue
        sequences = len({name.split("/")[0] for name in dataset.names()})
        report.contents.append(f"{split}: {len(dataset)} frames of {sequences} sequences")
        if len(dataset) != published:
            report.partial.append(
                f"{split}: its list names {len(dataset)} of the release's {published:,} frames"
            )
        files = {"photographs": dataset.image_paths(), "metadata": dataset.meta_paths()}
        there = _present(report, split, files)
        _decode(report, split, [lambda n=n, d=dataset: _read_frame(d[n]) for n in there])
        if split == "evaluation":
            try:
                report.contents.append(
                    f"{split}: joints and vertices of {len(dataset.truth().joints)} frames"
                )
            except MissingData:
                pass  # optional: named above
            except DataError as error:
                report.corrupt.append(str(error))


def _read_dexycb(report: CheckReport) -> None:
    subjects = subjects_in(report.root)
    if not subjects:
        report.missing.append(f"a subject's folder, as {SUBJECTS[0]}")
        return
    if absent := len(SUBJECTS) - len(subjects):
        report.partial.append(f"{absent} of the {len(SUBJECTS)} subjects are missing")
    for subject in subjects:
        if (count := len(recordings(report.root / subject))) != SEQUENCES:
            report.partial.append(
                f"{subject}: {count} of {SEQUENCES} recordings, so that the splits s0 and s3 are not official"
            )
    for split in splits_in(report.root, "s0"):  # together they are everything that there is
        try:
            dataset = DexYCB(report.root, "s0", split)
        except DataError as error:
            report.corrupt.append(str(error))
            continue
        report.contents.append(
            f"s0 {split}: {len(dataset)} photographs of {len(dataset.sequences)} recordings"
        )
        short = [s for s in dataset.sequences if len(s.serials) < len(SERIALS)]
        report.partial.extend(
            f"{s.subject}/{s.name}: {len(s.serials)} of {len(SERIALS)} cameras" for s in short[:_NAMED]
        )
        if len(short) > _NAMED:
            report.partial.append(f"s0 {split}: and in {len(short) - _NAMED} more recordings")
        there = _present(report, f"s0 {split}", {"photographs": dataset.image_paths()})
        _decode(report, f"s0 {split}", [lambda n=n, d=dataset: _read_frame(d[n]) for n in there])


def _read_frame(frame: HO3DFrame | DexYCBFrame) -> None:
    """Its photograph, and the depth map where that was unpacked too."""
    frame.image()
    if frame.depth_path.exists():
        frame.depth()


def _present(report: CheckReport, label: str, files: dict[str, list[Path]]) -> list[int]:
    """Some frames of which every kind of file is there; reports what is not."""
    lost = [False] * len(next(iter(files.values())))
    for kind, paths in files.items():
        absent = missing_files(paths)
        if any(absent):
            first = paths[absent.index(True)]
            report.partial.append(f"{label}: {sum(absent)} of {len(paths)} {kind}, the first {first}")
        lost = [a or b for a, b in zip(lost, absent, strict=True)]
    there = [number for number, gone in enumerate(lost) if not gone]
    return [there[number] for number in _some(len(there))]


def _read_mano(report: CheckReport) -> None:
    for side in ("RIGHT", "LEFT"):
        try:
            read_mano_pickle(report.root / f"MANO_{side}.pkl")
            report.contents.append(f"MANO_{side}.pkl: a whole MANO model")
        except ManoError as error:
            report.corrupt.append(str(error))


def _read_halo(report: CheckReport) -> None:
    try:
        report.contents.append(f"{len(read_halo_sequence(report.root))} skeletons")
    except DataError as error:
        report.corrupt.append(str(error))


def _some(count: int) -> range:
    return range(0, count, max(1, count // _DECODED_IMAGES))


def _decode(report: CheckReport, label: str, photographs: list[Callable[[], object]]) -> None:
    for decode in photographs:
        try:
            decode()
        except DataError as error:
            report.corrupt.append(str(error))
    report.contents.append(f"{label}: {len(photographs)} photographs decoded")


_READERS: dict[str, Callable[[CheckReport], None]] = {
    "dexycb": _read_dexycb,
    "freihand": _read_freihand,
    "halo_skeleton_sequence": _read_halo,
    "ho3d": _read_ho3d,
    "ho3d_v3": _read_ho3d,
    "interhand26m": _read_interhand26m,
    "interhand26m_30fps": _read_interhand26m,
    "mano": _read_mano,
    "reinterhand": _read_reinterhand,
}
