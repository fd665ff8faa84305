"""The face finder as a stage: frames of many videos go through it together."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from deepscan.batching import run_isolating_failures, take_first
from deepscan.faces.face import Detection
from deepscan.faces.finder import FaceFinder
from deepscan.faces.following import FollowState, search_or_follow
from deepscan.media.frames import Frame
from deepscan.media.jobs import FrameReady

#: Frames that go through the face finder together.
FRAME_BATCH = 8


class InWork(Protocol):
    """What the face finder's stage has to do with a video.

    Attributes:
        waiting: Frames and crops that have not been through their stage yet.
        failure: What a stage of ours could not do with it, empty where none failed.
        follow_state: Where its faces were last.
    """

    waiting: int
    failure: str
    follow_state: FollowState


V = TypeVar("V", bound=InWork)


class FaceStage(Generic[V]):
    """Frames of many videos that wait for one face finder and go through it together.

    Args:
        finder: The face finder.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._frames: deque[tuple[V, FrameReady]] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, video: V, event: FrameReady) -> None:
        """Let a frame wait."""
        video.waiting += 1
        self._frames.append((video, event))

    def run(self, keep: Callable[[V, Frame, list[Detection]], None]) -> list[V]:
        """Find the faces of one batch of frames, and give the frames' memory back.

        Args:
            keep: Takes each frame with its faces, the largest first; the image holds until it returns.

        Returns:
            The videos that the frames are from, one a frame.
        """
        batch = take_first(self._frames, FRAME_BATCH)
        found = run_isolating_failures(self._find, batch)
        for (video, event), detections in zip(batch, found, strict=True):
            if isinstance(detections, Exception):
                video.failure = f"finding faces failed at frame {event.frame.index}: {detections}"
            else:
                keep(video, event.frame, detections)
            video.waiting -= 1
            event.release()
        return [video for video, _ in batch]

    def _find(self, batch: list[tuple[V, FrameReady]]) -> list[list[Detection]]:
        frames = [event.frame for _, event in batch]
        return search_or_follow(self._finder, frames, [video.follow_state for video, _ in batch])
