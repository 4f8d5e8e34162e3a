"""The system's Chromium, which makes the book's PDF and the pictures of its figures."""

import os
import shutil

from hands_lib.reproduce.project import ProjectError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *(("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),  # root, in a container
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",  # software rendering: the figures are WebGL
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def find_chromium() -> str:
    """Path of the first Chromium on PATH.

    Raises:
        ProjectError: there is none.
    """
    path = next((path for path in map(shutil.which, NAMES) if path), None)
    if path is None:
        raise ProjectError(
            f"no Chromium on this machine (looked for {', '.join(NAMES)}): install it, on Debian with "
            "`apt-get install chromium`"
        )
    return path
