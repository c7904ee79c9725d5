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


def reader_of(extension: str) -> str | None:
    """Returns the name of the function that reads such files, if there is one."""
    if extension in PARQUET_EXTENSIONS:
        return "read_parquet"
    if extension in IMAGE_EXTENSIONS:
        return "read_images"
    return "read_video" if extension in VIDEO_EXTENSIONS else None
