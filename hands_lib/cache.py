"""Where files lie that can be made again from something else: `$HANDS_CACHE`, else `~/.cache/hands`."""

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "HANDS_CACHE"


def cache_folder() -> Path:
    """This user's folder; it need not exist yet. `$XDG_CACHE_HOME` stands for `~/.cache` where it is set."""
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hands"
