"""Make four cleaned corpora of equal size from four texts that Debian packages contain.

Usage: python tools/prepare_corpora.py [--output build/corpora]

Reads what `apt-get install r-cran-janeaustenr bible-kjv bible-kjv-text python3.11-doc wordnet-base` puts on the disk.
Writes, for each corpus, NAME.train.txt and NAME.heldout.txt (documents separated by <|endoftext|>), one
sample.jsonl.gz of held-out documents with all corpora equally represented, and manifest.json with sizes and hashes.
The same packages and the same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

END_OF_TEXT = "<|endoftext|>"

AUSTEN_DATABASE = Path("/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
BIBLE_DATA = Path("/usr/lib/bible.data")
PYTHON_DOCS = Path("/usr/share/doc/python3.11/html/_sources")
WORDNET = Path("/usr/share/wordnet")

R_CHARACTER_VECTOR = 16
R_STRING = 9
WORDNET_SYNSETS_PER_DOCUMENT = 24
PYTHON_PIECE_CHARACTERS = 8_000


class CorpusError(Exception):
    """A source is missing, or in a format that this script cannot read."""


# --- Jane Austen -----------------------------------------------------------------------------------------------------


def read_r_strings(stream: bytes) -> list[str]:
    """The strings of one serialised R character vector (XDR format, version 3)."""
    header = struct.Struct(">2sIIII")
    magic, version, _, _, encoding_length = header.unpack_from(stream)
    if magic != b"X\n" or version != 3:
        raise CorpusError(f"expected an R object in XDR format, version 3; found {stream[:6]!r}")
    position = header.size + encoding_length
    flags, count = struct.unpack_from(">II", stream, position)
    if flags & 0xFF != R_CHARACTER_VECTOR:
        raise CorpusError(f"expected an R character vector; found R type {flags & 0xFF}")
    position += 8
    strings = []
    for _ in range(count):
        flags, length = struct.unpack_from(">Ii", stream, position)
        if flags & 0xFF != R_STRING:
            raise CorpusError(f"expected an R string at byte {position}; found R type {flags & 0xFF}")
        position += 8
        strings.append(stream[position : position + length].decode() if length > 0 else "")
        position += max(length, 0)
    return strings


def read_r_database(path: Path) -> Iterator[list[str]]:
    """Each character vector of an R lazy-load database: a length, then a zlib stream, one after the other."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack_from(">I", data)
        decompressor = zlib.decompressobj()
        stream = decompressor.decompress(data[4:])
        if len(stream) != length:
            raise CorpusError(f"{path}: an entry of {length} bytes unpacks to {len(stream)}")
        data = decompressor.unused_data
        yield read_r_strings(stream)


def unwrap(paragraph: list[str]) -> str:
    """One paragraph of hard-wrapped prose as one line; verse and headings (indented lines) keep their lines."""
    if any(line.startswith("  ") for line in paragraph):
        return "\n".join(line.strip() for line in paragraph)
    text = " ".join(line.strip() for line in paragraph)
    return re.sub(r" {2,}", " ", text.replace("-- ", "--"))


def austen_documents() -> list[str]:
    """The six novels: one document per chapter, one line per paragraph, an empty line between paragraphs."""
    documents = []
    for lines in read_r_database(AUSTEN_DATABASE):
        chapters: list[list[str]] = []
        for line in lines:
            if re.fullmatch(r"\s*chapter\s+[ivxl\d]+\.?\s*", line, re.IGNORECASE):
                chapters.append([])
            elif line.startswith("A NOTE ON THE TEXT"):
                break
            if chapters and not re.match(r"\s*(volume [ivx]+|the end|finis)\s*$", line, re.IGNORECASE):
                chapters[-1].append(line)
        for chapter in chapters:
            paragraphs: list[list[str]] = [[]]
            for line in chapter:
                if line.strip():
                    paragraphs[-1].append(line)
                elif paragraphs[-1]:
                    paragraphs.append([])
            documents.append("\n\n".join(unwrap(paragraph) for paragraph in paragraphs if paragraph) + "\n")
    return documents


# --- King James Bible ------------------------------------------------------------------------------------------------


def bible_documents() -> list[str]:
    """The King James Bible: one document per chapter, with its name, then one line per verse, number first."""
    program = shutil.which("bible")
    if program is None:
        raise CorpusError("the `bible` command is missing: apt-get install bible-kjv")
    text = subprocess.run(
        [program, "-l100000", "gen1:1-rev22:21"], stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True
    ).stdout
    documents: list[list[str]] = []
    for line in text.splitlines():
        verse = re.match(r"\s+(\d+)\s+(.*)", line)
        if verse and documents:
            documents[-1].append(f"{verse[1]} {verse[2].strip()}")
        elif line.strip():
            documents.append([line.strip() + "\n"])
    if len(documents) != 1189:
        raise CorpusError(f"the King James Bible has 1,189 chapters; `bible` printed {len(documents)}")
    return ["\n".join(lines) + "\n" for lines in documents]


# --- Python documentation --------------------------------------------------------------------------------------------


def python_documents() -> list[str]:
    """The reStructuredText sources of Python's documentation, cut at section headings into pieces of some 8 KB."""
    documents = []
    for path in sorted(PYTHON_DOCS.rglob("*.rst.txt")):
        if path.name in {"license.rst.txt", "copyright.rst.txt", "contents.rst.txt"}:
            continue
        lines = [line.rstrip() for line in path.read_text(encoding="utf-8").expandtabs(4).splitlines()]
        lines = [line for line in lines if not re.match(r"\s*\.\. (section|module)author::", line)]
        pieces: list[list[str]] = [[]]
        size = 0
        for number, line in enumerate(lines):
            underline = lines[number + 1] if number + 1 < len(lines) else ""
            heading = len(line) > 2 and re.fullmatch(r"([=\-~^*\"])\1{2,}", underline) and len(underline) >= len(line)
            if heading and size > PYTHON_PIECE_CHARACTERS:
                pieces.append([])
                size = 0
            pieces[-1].append(line)
            size += len(line) + 1
        for piece in pieces:
            text = re.sub(r"\n{4,}", "\n\n\n", "\n".join(piece)).strip("\n")
            if text:
                documents.append(text + "\n")
    return documents


# --- WordNet ---------------------------------------------------------------------------------------------------------


def wordnet_documents() -> list[str]:
    """WordNet's glosses as lines "headword: gloss", 24 neighbouring synsets per document."""
    documents = []
    for part in ("noun", "verb", "adj", "adv"):
        lines = []
        for line in (WORDNET / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue  # the licence at the head of each file
            fields, _, gloss = line.partition(" | ")
            headword = re.sub(r"\((a|p|ip)\)$", "", fields.split()[4]).replace("_", " ")
            lines.append(f"{headword}: {re.sub(r' {2,}', ' ', gloss.strip())}\n")
        step = WORDNET_SYNSETS_PER_DOCUMENT
        documents += ["".join(lines[start : start + step]) for start in range(0, len(lines), step)]
    return documents


# --- all four --------------------------------------------------------------------------------------------------------

CORPORA: dict[str, tuple[Path, str, Callable[[], list[str]]]] = {
    "austen": (AUSTEN_DATABASE, "r-cran-janeaustenr", austen_documents),
    "bible": (BIBLE_DATA, "bible-kjv bible-kjv-text", bible_documents),
    "python": (PYTHON_DOCS, "python3.11-doc", python_documents),
    "wordnet": (WORDNET / "data.noun", "wordnet-base", wordnet_documents),
}


def take(documents: Iterator[str], size: int) -> list[str]:
    """Documents of `size` UTF-8 bytes in all; the last one is cut after a line, the rest of it is dropped."""
    taken: list[str] = []
    for document in documents:
        if byte_length(document) >= size:
            cut = document.encode()[:size].decode(errors="ignore")
            taken.append(cut[: cut.rfind("\n") + 1])
            break
        taken.append(document)
        size -= byte_length(document)
    return [document for document in taken if document]


def byte_length(text: str) -> int:
    """The text's length as UTF-8."""
    return len(text.encode())


def pack_sample(sample: dict[str, list[str]]) -> bytes:
    """Gzipped JSON lines {"corpus", "text"}, one per document, in the order of the corpora; no time stamp."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as stream:
        for name, texts in sample.items():
            for text in texts:
                stream.write((json.dumps({"corpus": name, "text": text}, ensure_ascii=False) + "\n").encode())
    return buffer.getvalue()


def main() -> None:
    """Read the packages' files and write the corpora."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/corpora"))
    parser.add_argument("--heldout", type=float, default=0.05, help="share of each corpus that is held out")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    missing = [(path, package) for path, package, _ in CORPORA.values() if not path.exists()]
    if missing:
        lines = [f"{path} is missing" for path, _ in missing]
        sys.exit("\n".join([*lines, "apt-get install " + " ".join(package for _, package in missing)]))

    documents = {name: read() for name, (_, _, read) in CORPORA.items()}
    size = min(sum(map(byte_length, texts)) for texts in documents.values())
    heldout_size = int(size * arguments.heldout)
    arguments.output.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, object]] = {}
    sample: dict[str, list[str]] = {}
    for name, texts in documents.items():
        random.Random(f"{arguments.seed} {name}").shuffle(texts)
        stream = iter(texts)
        sample[name] = take(stream, heldout_size)
        for split, part in (("heldout", sample[name]), ("train", take(stream, size - heldout_size))):
            data = END_OF_TEXT.join(part).encode()
            path = arguments.output / f"{name}.{split}.txt"
            path.write_bytes(data)
            files[path.name] = {
                "documents": len(part),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            print(f"{path}: {len(part):,} documents, {len(data):,} bytes")
    path = arguments.output / "sample.jsonl.gz"
    path.write_bytes(pack_sample(sample))
    print(f"{path}: {path.stat().st_size:,} bytes")
    manifest = {"seed": arguments.seed, "files": files}
    (arguments.output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
