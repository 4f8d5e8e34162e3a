"""The sets of pictures that the chapters on radiance fields can run on, by name.

Chapters  book/va_nerf/fusion.md and the three after it
"""

from pathlib import Path

from hands_lib.data.errors import DataError
from hands_lib.data.even_light import EvenLightSettings, even_light_pairs
from hands_lib.data.pair_views import PairViews

VIEW_SETS = {"world": {"dataset": "two hands in even light", "dataset_version": "1"}}
"""What a run's record says of each."""


def view_set(name: str, split: str, settings: EvenLightSettings, root: str | Path | None = None) -> PairViews:
    """The pictures of a split.

    name      one of `VIEW_SETS`
    settings  numbers of frames and views, size of the pictures
    root      folder of the data set; the world needs none

    Raises DataError for another name, and as `even_light_pairs` does.
    """
    if name == "world":
        return even_light_pairs(split, settings)
    raise DataError(f"unknown set of pictures {name!r}; there are {', '.join(VIEW_SETS)}")
