"""What was asked on a page, in order, to go back and forward through."""

from typing import Generic, TypeVar

EntryT = TypeVar("EntryT")


class Trail(Generic[EntryT]):
    """The entries that were visited, and which of them is on view."""

    def __init__(self) -> None:
        self._entries: list[EntryT] = []
        self._place = -1

    def visit(self, entry: EntryT) -> None:
        """Note a new entry; those ahead are forgotten. The one on view is not noted twice."""
        if self._place >= 0 and self._entries[self._place] == entry:
            return
        del self._entries[self._place + 1 :]
        self._entries.append(entry)
        self._place += 1

    def ahead(self, step: int) -> tuple[int, EntryT] | None:
        """The place and entry so many steps ahead (negative: behind) of the one on view; None beyond an end."""
        place = self._place + step
        return (place, self._entries[place]) if 0 <= place < len(self._entries) else None

    def move_to(self, place: int) -> None:
        """Set which entry is on view."""
        if not 0 <= place < len(self._entries):
            raise IndexError(f"The trail has no place {place}.")
        self._place = place

    def __len__(self) -> int:
        return len(self._entries)
