"""Which file name extensions belong to which reader.

Owns these lists. Loads nothing, since the public signatures show them.
"""

PARQUET_EXTENSIONS = ("parquet",)
CSV_EXTENSIONS = ("csv", "tsv")
JSON_EXTENSIONS = (
    *("json", "jsonl", "ndjson", "json.gz", "jsonl.gz", "json.br", "jsonl.br"),
    *("json.zst", "jsonl.zst", "json.lz4", "jsonl.lz4", "json.bz2", "jsonl.bz2"),
)
ARROW_EXTENSIONS = ("arrow", "arrows", "feather", "ipc")
AVRO_EXTENSIONS = ("avro",)
NUMPY_EXTENSIONS = ("npy", "npz")
ORC_EXTENSIONS = ("orc",)
TFRECORD_EXTENSIONS = ("tfrecord", "tfrecords", "tfrec")
WEBDATASET_EXTENSIONS = ("tar", "tar.gz", "tgz", "tar.bz2", "tar.zst", "tar.lz4")
IMAGE_EXTENSIONS = (
    *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "avif"),
    *("tif", "tiff", "bmp", "gif"),
)
VIDEO_EXTENSIONS = (
    *("mp4", "mkv", "mov", "avi", "wmv", "flv", "webm", "m4v", "3gp", "mpeg", "mpg", "ts"),
    *("ogv", "rm", "rmvb", "vob", "asf", "f4v", "m2ts", "mts", "divx", "xvid", "mxf"),
)
AUDIO_EXTENSIONS = (
    *("wav", "wave", "flac", "ogg", "oga", "opus", "mp3"),
    *("aif", "aiff", "aifc", "au", "snd", "caf", "w64", "rf64"),
)
PDF_EXTENSIONS = ("pdf",)
HDF5_EXTENSIONS = ("h5", "hdf5", "hdf", "he5", "h5ad", "nxs")
MCAP_EXTENSIONS = ("mcap",)
DICOM_EXTENSIONS = ("dcm", "dicom", "dic", "ima")
TIFF_EXTENSIONS = ("tif", "tiff", "tf2", "tf8", "btf", "lsm", "stk", "svs", "qptiff", "ndpi")
LAS_EXTENSIONS = ("las", "laz")
VORTEX_EXTENSIONS = ("vortex",)


_EXTENSIONS = {
    "read_parquet": PARQUET_EXTENSIONS,
    "read_csv": CSV_EXTENSIONS,
    "read_json": JSON_EXTENSIONS,
    "read_arrow": ARROW_EXTENSIONS,
    "read_avro": AVRO_EXTENSIONS,
    "read_numpy": NUMPY_EXTENSIONS,
    "read_orc": ORC_EXTENSIONS,
    "read_tfrecords": TFRECORD_EXTENSIONS,
    "read_webdataset": WEBDATASET_EXTENSIONS,
    "read_images": IMAGE_EXTENSIONS,
    "read_video": VIDEO_EXTENSIONS,
    "read_audio": AUDIO_EXTENSIONS,
    "read_pdf": PDF_EXTENSIONS,
    "read_vortex": VORTEX_EXTENSIONS,
    "read_hdf5": HDF5_EXTENSIONS,
    "read_mcap": MCAP_EXTENSIONS,
    "read_dicom": DICOM_EXTENSIONS,
    "read_tiff": TIFF_EXTENSIONS,
    "read_las": LAS_EXTENSIONS,
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
