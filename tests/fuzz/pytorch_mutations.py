"""Changes of files that PyTorch saved: members of the zip archive, and instructions of the pickle in it."""

import io
import pickletools
import random
import warnings
import zipfile
from collections.abc import Sequence

from fuzz.mutations import mutated_bytes
from fuzz.tensor_mutations import with_telling_numbers

Members = list[tuple[str, bytes]]

_NAMES = (
    b"FloatStorage", b"HalfStorage", b"DoubleStorage", b"LongStorage", b"BoolStorage", b"ByteStorage",
    b"BFloat16Storage", b"ComplexFloatStorage", b"QInt8Storage", b"UntypedStorage", b"_rebuild_tensor_v2",
    b"_rebuild_tensor_v3", b"_rebuild_parameter", b"_rebuild_sparse_tensor",
    b"_rebuild_meta_tensor_no_storage", b"_rebuild_qtensor",
    b"_rebuild_nested_tensor", b"OrderedDict", b"system", b"Tensor", b"Size", b"float8_e4m3fn",
)  # fmt: skip
_INSTRUCTIONS = tuple(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)
_ARGUMENTS = (0, 1, 2, 5, 127, 128, 254, 255)


def mutated_pytorch(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A PyTorch file with changed instructions, tensors, members or bytes."""
    members = members_of(content)
    if chance.random() < 0.15 or not members:
        return mutated_bytes(content, chance, others)
    place = next(number for number, (name, _) in enumerate(members) if name.endswith("data.pkl"))
    name, pickled = members[place]
    kind = chance.randrange(10)
    if kind <= 5:
        members[place] = (name, _changed_pickle(pickled, chance))
    elif kind == 6:
        members[place] = (name, mutated_bytes(pickled, chance, others))
    elif kind == 7:
        tensors = [number for number, (each, _) in enumerate(members) if "/data/" in each] or [place]
        at = chance.choice(tensors)
        data = members[at][1]
        changes = (with_telling_numbers(data, chance), data[:-1], b"", data * 2, data + b"\0" * 64)
        members[at] = (members[at][0], chance.choice(changes))
    elif kind == 8:
        at = chance.randrange(len(members))
        members[at] = (members[at][0], mutated_bytes(members[at][1], chance))
    else:
        members = _changed_members(members, chance)
    return zipped(members, chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def members_of(content: bytes) -> Members:
    """The names and contents of a zip archive; none if it is not one."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(member.filename, archive.read(member)) for member in archive.infolist()]
    except zipfile.BadZipFile:
        return []


def zipped(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of these members, names given twice included."""
    written = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(written, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names given twice
        for name, content in members:
            archive.writestr(name, content)
    return written.getvalue()


def _changed_pickle(pickled: bytes, chance: random.Random) -> bytes:
    changed = bytearray(pickled)
    places = [place for _, _, place in pickletools.genops(pickled) if place is not None]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        place = chance.choice(places)
        kind = chance.randrange(6)
        if kind == 0:
            changed[place : place + 1] = chance.choice(_INSTRUCTIONS)
        elif kind == 1:
            changed[place + 1 : place + 2] = bytes([chance.choice(_ARGUMENTS)])
        elif kind == 2:
            return bytes(changed[:place] + chance.choice(_INSTRUCTIONS) + changed[place:])
        elif kind == 3:
            end = chance.choice(places)
            return bytes(changed[: min(place, end)] + changed[max(place, end) :])
        elif kind == 4:
            end = min(chance.choice(places), place + 60)
            return bytes(changed[:place] + changed[place:end] + changed[place:])
        else:
            present = [name for name in _NAMES if name in changed]
            if present:
                return bytes(changed.replace(chance.choice(present), chance.choice(_NAMES), 1))
    return bytes(changed)


def _changed_members(members: Members, chance: random.Random) -> Members:
    at = chance.randrange(len(members))
    name, content = members[at]
    kind = chance.randrange(5)
    if kind == 0:
        return members[:at] + members[at + 1 :]
    if kind == 1:
        renamed = chance.choice((" ", "../" + name, name.upper(), name + "\0", "x" * 3000, members[0][0]))
        return [*members[:at], (renamed, content), *members[at + 1 :]]
    if kind == 2:
        return [*members, (name, chance.choice(members)[1])]
    if kind == 3:
        return members[::-1]
    return [*members[:at], (name, chance.choice(members)[1]), *members[at + 1 :]]
