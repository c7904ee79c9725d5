"""Which file name extensions belong to which reader.

Owns these lists. Loads nothing, since the public signatures show them.
"""

PARQUET_EXTENSIONS = ("parquet",)
IMAGE_EXTENSIONS = (
    *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "avif"),
    *("tif", "tiff", "bmp", "gif"),
)
VIDEO_EXTENSIONS = (
    *("mp4", "mkv", "mov", "avi", "wmv", "flv", "webm", "m4v", "3gp", "mpeg", "mpg", "ts"),
    *("ogv", "rm", "rmvb", "vob", "asf", "f4v", "m2ts", "mts", "divx", "xvid", "mxf"),
)


_EXTENSIONS = {
    "read_parquet": PARQUET_EXTENSIONS,
    "read_images": IMAGE_EXTENSIONS,
    "read_video": VIDEO_EXTENSIONS,
}


def extensions_of(reader: str) -> tuple[str, ...] | None:
    """Returns which files a reader reads by default; `None`: all."""
    return _EXTENSIONS.get(reader)


def reader_of(extension: str) -> str | None:
    """Returns the name of the function that reads such files, if there is one."""
    for reader, extensions in _EXTENSIONS.items():
        if extension in extensions:
            return reader
    return None
