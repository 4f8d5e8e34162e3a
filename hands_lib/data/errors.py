"""What goes wrong with data on disk: every message names the file or the value, and the mend."""


class DataError(ValueError):
    """A file is not what its format promises."""


class MissingData(DataError):
    """A file or a folder is not there."""
