"""Run the face finder as a stage that processes frames of many videos together."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from deepscan.batching import run_isolating_failures, take_first
from deepscan.faces.face import Detection
from deepscan.faces.finder import FaceFinder
from deepscan.faces.following import FollowState, search_or_follow
from deepscan.media.frames import Frame
from deepscan.media.jobs import FrameReady

#: Number of frames that go through the face finder together.
FRAME_BATCH = 8


class InWork(Protocol):
    """What the face finder's stage needs to know about a video.

    Attributes:
        waiting: Number of frames and crops that have not been through their stage yet.
        failure: Error message of the stage that failed; empty on success.
        follow_state: State of following the video's faces.
    """

    waiting: int
    failure: str
    follow_state: FollowState


V = TypeVar("V", bound=InWork)


class FaceStage(Generic[V]):
    """Queue of frames of many videos that go through one face finder together.

    Args:
        finder: The face finder.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._frames: deque[tuple[V, FrameReady]] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, video: V, event: FrameReady) -> None:
        """Add a frame to the queue."""
        video.waiting += 1
        self._frames.append((video, event))

    def clear(self) -> None:
        """Drop all frames, and release their memory."""
        while self._frames:
            video, event = self._frames.popleft()
            video.waiting -= 1
            event.release()

    def run(self, keep: Callable[[V, Frame, list[Detection]], None]) -> list[V]:
        """Find the faces of one batch of frames, and release the frames' memory.

        Args:
            keep: Called with each frame and its faces, the largest first; the image is valid until it
                returns.

        Returns:
            The video of each frame in the batch.
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
