"""The sets of pictures that the chapters on radiance fields can run on, by name.

Chapters  book/va_nerf/fusion.md and the three after it
"""

from pathlib import Path

from hands_lib.data.errors import DataError
from hands_lib.data.even_light import EvenLightSettings, even_light_pairs
from hands_lib.data.interhand26m import SPLITS
from hands_lib.data.interhand_views import InterHandViewSettings, interhand_views
from hands_lib.structures import PairViews

VIEW_SETS = {
    "world": {"dataset": "two hands in even light", "dataset_version": "1"},
    "interhand26m": {"dataset": "InterHand2.6M", "dataset_version": "v1.0"},
    "interhand26m_large_variation": {
        "dataset": "InterHand2.6M, large variation of views",
        "dataset_version": "v1.0",
    },
}
"""What a run's record says of each."""

_VARIATION = {"interhand26m": "small variation", "interhand26m_large_variation": "large variation"}


def view_set(name: str, split: str, settings: EvenLightSettings, root: str | Path | None = None) -> PairViews:
    """The pictures of a split.

    name      one of `VIEW_SETS`
    settings  numbers of frames and views, size of the pictures. Data sets have no seed, people or margin to
              choose; their frames are the first ones of the annotation, at most as many
    root      folder of the data set; empty or None: where the manifests say. The world needs none

    Raises DataError for another name, and as `even_light_pairs` or `interhand_views` do.
    """
    if name == "world":
        return even_light_pairs(split, settings)
    if name not in _VARIATION:
        raise DataError(f"unknown set of pictures {name!r}; there are {', '.join(VIEW_SETS)}")
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    own = InterHandViewSettings(
        image_size=settings.image_size,
        num_views=settings.num_views,
        num_frames=getattr(settings, split),
        variation=_VARIATION[name],
    )
    return interhand_views(split, own, root or None)
