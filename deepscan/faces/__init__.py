"""Faces: finding, aligning and following them, linking a person's into a track; the regions of a face."""
