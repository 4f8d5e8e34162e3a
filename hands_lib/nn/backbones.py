"""Image backbones: those of timm, which is not among what `hands_lib` itself needs."""

from types import ModuleType


def timm_library() -> ModuleType:
    """timm, imported when a backbone is made. Raises ImportError, which names the extra, where it is not."""
    try:
        import timm
    except ModuleNotFoundError:
        raise ImportError(
            "image backbones need timm: pip install 'hands-lib[book]', or pip install timm"
        ) from None
    return timm
