"""The console script `hands`."""

import argparse
import errno
import io
import itertools
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hands_lib.data.errors import DataError
from hands_lib.reproduce.chapters import A_PATH, find_chapter, list_chapters, read_presets
from hands_lib.reproduce.jobs import SMOKE
from hands_lib.reproduce.project import ProjectError, absolute, absolute_folders, find_root, nearest

# The runner needs the book's packages; it is imported where it is used, so that `hands data` works without.

PARAMETER = ("-p", "--parameter")


class _Parser(argparse.ArgumentParser):
    """Suggests the nearest of what may be chosen."""

    def error(self, message: str) -> NoReturn:
        wrong = re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.+)\)", message)
        if wrong:
            message = str(nearest(wrong[2], re.findall(r"[\w-]+", wrong[3]), wrong[1]))
        super().error(message)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name.isidentifier():
        raise argparse.ArgumentTypeError("give a name and a value, for example -p seed 3")
    return name, absolute(value) if A_PATH.search(name) and value else value


def _joined(words: Sequence[str]) -> list[str]:
    """With `-p NAME VALUE` and `-p NAME=VALUE` in one word: argparse takes -1e-3 for an option."""
    left, joined = iter(words), []
    for word in left:
        if word == "--":
            return [*joined, word, *left]
        if word in PARAMETER:
            pair = [next(left, "")]
            pair += [] if "=" in pair[0] else list(itertools.islice(left, 1))
            word = "=".join([PARAMETER[1], *pair])
        joined.append(word)
    return joined


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        *PARAMETER,
        type=_pair,
        action="append",
        default=[],
        metavar="NAME VALUE",
        help="set a parameter of the chapter; may be given again",
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hands", description="Run and build the book; check data sets; untangle hands.")
    parser.add_argument("--version", action="store_true", help="print the version of hands_lib and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="chapters with title, slug and profiles")
    run = commands.add_parser(
        "run", help="execute one chapter", description="Execute one chapter with papermill."
    )
    run.add_argument("chapter", help="name as shown by `hands list`, or the path of the .md file")
    run.add_argument("--profile", default=SMOKE, help="size of the run (default: smoke)")
    _add_parameters(run)
    run.add_argument("--force", action="store_true", help="repeat jobs that are recorded already")
    run.add_argument(
        "--dirty", action="store_true", help="record with sources that are not committed; it is no result"
    )
    plan = commands.add_parser(
        "plan", help="the jobs of a profile: which are recorded, how long the rest takes"
    )
    plan.add_argument(
        "--undecided",
        action="store_true",
        help="instead: claims that the seeds so far leave open, how many would decide, and the minutes",
    )
    sweep = commands.add_parser(
        "sweep",
        help="run what is missing, spread over cores, GPUs or a cluster",
        description="Run the missing jobs of a slug, a chapter or (without a name) the whole book.",
    )
    for command in (plan, sweep):
        command.add_argument("name", nargs="?", help="slug or chapter (default: the whole book)")
        command.add_argument("--profile", default="cpu", help="size of the runs (default: cpu)")
        _add_parameters(command)
    sweep.add_argument("--cores", type=int, help="jobs' cores on this machine (default: all of them)")
    sweep.add_argument(
        "--on", metavar="PLACE", help="a folder of profiles/, e.g. slurm (default: this machine)"
    )
    sweep.add_argument("--force", action="store_true", help="repeat jobs that are recorded already")
    sweep.add_argument(
        "--retries", type=int, default=2, help="further attempts of a failing job (default: 2)"
    )
    commands.add_parser("collect", help="merge finished jobs into book/results, and settle what is damaged")
    same = commands.add_parser(
        "same",
        help="prove that an edit of the sources changes no number of a chapter",
        description="Run the chapter's smoke jobs at the commit where its version was proved, and now. Equal "
        "to the last bit: the version stays. Else every number that differs is listed.",
    )
    same.add_argument("chapter", help="name as shown by `hands list`")
    claims = commands.add_parser("claims", help="what the papers claim, and the verdicts")
    claims.add_argument("slug", nargs="?", help="one system (default: all of them)")
    _add_untangle(commands)
    _add_contact(commands)
    build = commands.add_parser("build", help="execute what changed and build the book into _build/html")
    build.add_argument(
        "--only",
        nargs="+",
        metavar="CHAPTER",
        help="while you write: execute these alone",
    )
    build.add_argument(
        "--pdf", action="store_true", help="also print the whole book into _build/book.pdf, through Chromium"
    )
    kept = commands.add_parser("cache", help="about what is kept in $HANDS_CACHE")
    kept = kept.add_subparsers(dest="action", required=True)
    kept.add_parser("list", help="every entry, its size, and when it was used last")
    clear = kept.add_parser("clear", help="delete what can be made again")
    clear.add_argument("kind", nargs="?", help="entries of one kind, as listed (default: all of them)")
    data = commands.add_parser("data", help="about data sets").add_subparsers(dest="action", required=True)
    data.add_parser("list", help="every data set, its licence, and whether it is on this machine")
    show = data.add_parser("show", help="what is known about a data set, and where a person gets it")
    show.add_argument("name", help="name of the data set, for example interhand26m")
    check = data.add_parser("check", help="what is there, what is missing, where a person gets it")
    check.add_argument("name", help="name of the data set, for example interhand26m")
    check.add_argument("--root", help="folder of the data set (default: below $HANDS_DATA)")
    return parser


def _add_untangle(commands: Any) -> None:
    own = commands.add_parser(
        "untangle",
        help="the closest poses of your pairs of hands that do not intersect",
        description="Read pairs of 21-joint hands (.npz or .json; see hands_lib/data/hand_pair_files.py) and "
        "write the closest poses whose surfaces do not intersect. The input is never changed.",
    )
    own.add_argument("input", metavar="IN", type=Path, help=".npz or .json with joints, order and unit")
    own.add_argument("output", metavar="OUT", type=Path, help=".npz or .json to write")
    own.add_argument("--order", help="fail unless the file has this joint order")
    own.add_argument("--unit", help="fail unless the file has this unit, m or mm")
    own.add_argument("--surface", choices=("thin", "rest"), default="thin", help="thickness (default: thin)")
    own.add_argument(
        "--method",
        choices=("distance", "occupancy", "both"),
        default="distance",
        help="what tells inside from outside: exact signed distances (default), the network, or both",
    )
    own.add_argument("--sequence", action="store_true", help="the frames are one motion: keep it smooth")
    own.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 ...")
    own.add_argument("--report", type=Path, metavar="REPORT.json", help="also write the report as JSON")
    own.add_argument("--force", action="store_true", help="replace OUT and the report if they are there")


def _untangle(args: argparse.Namespace) -> int:
    """0 if nothing intersects any more, 3 if some pairs could not be solved (the output is written)."""
    from hands_lib.methods.intersections.untangle import UntangleSettings
    from hands_lib.tools.untangle import report_text, untangle_file

    report = untangle_file(
        args.input,
        args.output,
        UntangleSettings(surface=args.surface, method=args.method),
        order=args.order,
        unit=args.unit,
        sequence=args.sequence,
        device=args.device,
        report=args.report,
        force=args.force,
    )
    print(report_text(report))
    return 3 if report["unsolved_frames"] else 0


def _add_contact(commands: Any) -> None:
    own = commands.add_parser(
        "contact",
        help="how two meshes touch and penetrate each other, by every published definition",
        description="Measure penetration depth, intersection volume and contact of two closed meshes (.obj, "
        ".off, .ply as text), or of two folders of them, a motion each. Seams, holes and inverted parts are "
        "mended in memory, with a word; files are never changed.",
    )
    own.add_argument("a", metavar="A", type=Path, help="the surface that is asked, for example the hand")
    own.add_argument("b", metavar="B", type=Path, help="the other one, for example the object")
    own.add_argument("--unit", default="m", help="of both files: m (default), cm or mm")
    own.add_argument("--report", type=Path, metavar="REPORT.json", help="write every frame's values as JSON")
    own.add_argument("--picture", type=Path, metavar="OUT.png", help="write a picture of the deepest frame")
    own.add_argument("--force", action="store_true", help="replace report and picture if they are there")


def _contact(args: argparse.Namespace) -> int:
    from hands_lib.tools.contact import contact_files, report_text

    found = contact_files(args.a, args.b, args.unit, args.report, args.picture, args.force)
    print(report_text(found))
    return 0


def _list(root: Path) -> int:
    chapters = list_chapters(root)
    rows = [("chapter", "title", "slug", "profiles")]
    rows += [(c.name, c.title, c.slug, ", ".join(read_presets(c, root))) for c in chapters]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _run(root: Path, args: argparse.Namespace) -> int:
    chapter = find_chapter(args.chapter, root)
    from hands_lib.reproduce.runner import run_chapter

    given = dict(args.parameter)
    outcome = run_chapter(chapter, root, args.profile, given, args.force, dirty=args.dirty)
    if outcome.failure:
        print(outcome.failure, file=sys.stderr)
        return 1
    print(f"{chapter.name}: {outcome.seconds:.1f} s -> {outcome.notebook.relative_to(root)}")
    return 0


def _build(root: Path, only: list[str] | None, pdf: bool) -> int:
    from hands_lib.reproduce.runner import build_book

    start = time.time()
    page = build_book(root, only and [find_chapter(name, root) for name in only])
    print(f"the book is built ({time.time() - start:.0f} s): open {page.relative_to(root)}")
    if pdf:
        from hands_lib.reproduce.pdf import print_book

        start = time.time()
        book = print_book(root, root / "_build" / "book.pdf")
        print(
            f"{book.path.relative_to(root)}: {book.sheets} pages, {book.figures} interactive figures, "
            f"{book.megabytes:.1f} MB ({time.time() - start:.0f} s)"
        )
    return 0


def _name(name: str | None, root: Path) -> str | None:
    """Of a chapter that is given by its path; any other name as it is."""
    if name is None or not os.path.exists(name):
        return name
    paths = {os.path.realpath(chapter.path): chapter.name for chapter in list_chapters(root)}
    return paths.get(os.path.realpath(name), name)


def _slug(name: str | None, root: Path) -> str | None:
    """Of a system that has published tables, or of a chapter of one.

    Raises:
        ProjectError: there is none; suggests the nearest.
    """
    known = {path.stem for path in (root / "book" / "published").glob("*.yml")}
    if name is None or name in known:
        return name
    own = (c.slug for c in list_chapters(root) if _name(name, root) in (c.name, c.stem) and c.slug in known)
    if found := next(own, None):
        return found
    raise nearest(name, known, "system")


def _command(arguments: Sequence[str]) -> int:
    parser = _parser()
    args = parser.parse_args(_joined(arguments))
    if args.version:
        from hands_lib import __version__

        print(__version__)
        return 0
    absolute_folders()
    if args.command == "list":
        return _list(find_root())
    if args.command == "run":
        return _run(find_root(), args)
    if args.command == "plan" and args.undecided:
        from hands_lib.reproduce.verdicts import undecided_text

        print(undecided_text(find_root(), _slug(args.name, find_root())))
        return 0
    if args.command == "plan":
        from hands_lib.reproduce.plan import plan_text

        root = find_root()
        print(plan_text(_name(args.name, root), root, args.profile, dict(args.parameter)))
        return 0
    if args.command == "sweep":
        from hands_lib.reproduce.sweep import sweep

        root, given = find_root(), dict(args.parameter)
        cores = len(os.sched_getaffinity(0)) if args.cores is None else args.cores
        name = _name(args.name, root)
        return sweep(name, root, args.profile, given, cores, args.on, args.force, args.retries)
    if args.command == "collect":
        from hands_lib.reproduce.collecting import collect

        print("\n".join(collect(find_root())) or "nothing to settle: every finished job is collected")
        return 0
    if args.command == "same":
        from hands_lib.reproduce.same import same

        return same(args.chapter, find_root())
    if args.command == "claims":
        from hands_lib.reproduce.tables import claims_page

        print(claims_page(_slug(args.slug, find_root()), find_root()))
        return 0
    if args.command == "build":
        return _build(find_root(), args.only, args.pdf)
    if args.command == "untangle":
        return _untangle(args)
    if args.command == "contact":
        return _contact(args)
    if args.command == "cache":
        from hands_lib.cache import clear, entries

        try:
            lines = entries() if args.action == "list" else clear(args.kind)
        except ValueError as error:
            raise ProjectError(str(error)) from error
        print("\n".join(lines))
        return 0
    if args.command == "data":
        from hands_lib.data.manifest import check_command, list_command, show_command

        if args.action == "list":
            text, code = list_command()
        elif args.action == "show":
            text, code = show_command(args.name)
        else:
            text, code = check_command(args.name, args.root)
        print(text, file=sys.stderr if code else sys.stdout)
        return code
    parser.print_help()
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code (0 good, 1 something to mend, 2 wrong usage; `hands untangle`:
    3 written, but some pairs still intersect)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may not know every letter
    try:
        try:
            return _command(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:  # nobody wants to read
                sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()
        return 141  # as of every program whose reader has enough: 128 + SIGPIPE
    except (ProjectError, DataError) as error:
        message = str(error)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        if error.filename is None:
            _give_up_output()
        message = f"{error.filename or 'the output'}: {error.strerror}: mend this, and call again"
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hands_lib"):
            raise
        message = f"{error.name} is not installed: pip install 'hands-lib[book,sweep]', or make book"
    except KeyboardInterrupt:
        print("hands: interrupted", file=sys.stderr)
        return 130
    print(f"hands: {message}", file=sys.stderr)
    return 1


def _give_up_output() -> None:
    """Else Python tries again when it ends, and complains."""
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
