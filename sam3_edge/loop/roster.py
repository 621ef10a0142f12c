"""The objects of a session: who there is, and where in the bank what is remembered of them lies."""

from __future__ import annotations

from sam3_edge.errors import UsageError
from sam3_edge.loop.bank import MemoryBank
from sam3_edge.loop.history import History, Memory
from sam3_edge.loop.regions import Floats
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track
from sam3_edge.session import Session
from sam3_edge.spec import ModelConfig


class Roster:
    """The tracks, by rising id, and their bank. Ids go on counting, whatever is removed."""

    def __init__(self, session: Session, config: ModelConfig, settings: Settings) -> None:
        self.config, self.settings = config, settings
        self.bank = MemoryBank(session, config)
        self.tracks: list[Track] = []
        self.next_id = 0

    @property
    def free(self) -> int:
        """How many more objects there may be."""
        return self.settings.max_objects - len(self.tracks)

    def track(self, id: int) -> Track:
        """Raises `UsageError` for an id that no object has."""
        for track in self.tracks:
            if track.id == id:
                return track
        fact = "is gone" if id in range(self.next_id) else "was never there"
        raise UsageError(f"object {id} {fact}: see a frame's ids for those that are")

    def begin(self, concept: str | None, frame: int, *, score: float) -> Track:
        """A new object, of which nothing is remembered yet."""
        history, keep_alive = History(self.config), self.settings.keep_alive
        track = Track(self.next_id, self.bank.open(), concept, frame, score, history, keep_alive)
        self.next_id += 1
        self.tracks.append(track)
        return track

    def end(self, track: Track) -> None:
        """Forget an object. The one in the bank's last row moves to its row."""
        self.tracks.remove(track)
        last = self.bank.free(track.row)
        for other in self.tracks:
            if other.row == last:
                other.row = track.row

    def write(self, track: Track, memory: Memory, features: Floats, pointer: Floats) -> None:
        """Put a memory [G*G, M] and a pointer [D] into the slots that the track's history gave them."""
        if memory.slot is None or memory.pointer is None:
            raise UsageError(f"object {track.id}: frame {memory.frame} has no slot any more")
        self.bank.write("memory", features, row=track.row, slot=memory.slot)
        self.bank.write("pointers", pointer, row=track.row, slot=memory.pointer)

    def clear(self) -> None:
        """No objects."""
        self.tracks.clear()
        self.bank.clear()
