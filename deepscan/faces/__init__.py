"""Faces: finding them (MTCNN), cutting them out aligned, linking one person's into a track."""
