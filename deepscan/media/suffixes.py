"""File name suffixes of the videos and pictures that scans and training look for in folders."""

# fmt: off
VIDEOS = (
    ".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".ts", ".webm", ".wmv",
)
STILLS = (".avif", ".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# fmt: on
