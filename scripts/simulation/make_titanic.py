"""Make the workshop's passenger list: simulated, in the columns of the well-known Titanic table.

    python -m simulation.make_titanic
        writes data/titanic_train.csv (712 passengers) and data/titanic_test.csv (179), as shipped

    python -m simulation.make_titanic --passengers 10000000 --out big
        writes big/titanic.csv; add --format parquet for big/titanic.parquet

    python -m simulation.make_titanic --passengers 10000000 --out big --shards 8
        writes the same passengers as big/titanic_00000.csv ... big/titanic_00007.csv

    python -m simulation.make_titanic --split train.csv
        divides the real table, or one with its columns, in the same way, into titanic_train.csv and
        titanic_test.csv in data; the text of every cell stays as it is

The list of 891 has exactly the counts of the published figures (data/titanic_figures.json): see
data/README.md. A list of any other size is drawn with the same joint distributions, a block of
100,000 at a time, so memory does not grow with its size. One --seed gives one list, however many
shards it is cut into; passenger numbers run through all shards. Needs numpy and tqdm; Parquet files
and `draw` need pandas, and Parquet files pyarrow.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from simulation.crowd import BLOCK, COLUMNS, SPLIT, TEXT_COLUMNS, Block, Crowd, Uniform

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).resolve().parent.parent.parent / "data"
FIGURES = DATA / "titanic_figures.json"
PASSENGERS = 891  # of the list that equals the figures
# Of about forty tried, the one whose test fifth is most like the real one: see data/README.md.
SEED = 14
TEST_SHARE = 5  # one in five passengers is held out
BYTES_EACH = {"csv": 90, "parquet": 45}  # at most, of one passenger on disk


def draw(passengers: int = PASSENGERS, seed: int = SEED) -> pd.DataFrame:
    """Return a simulated list as a table, with the types that pandas reads from the CSV file.

    Of 891 passengers the counts equal the figures; other sizes are drawn with the same joint
    distributions. Holds the whole table in memory: about 150 bytes for each passenger.

    Raises ValueError for a number of passengers below 1 or a seed below 0.
    """
    import pandas as pd

    return pd.concat([block.frame() for block in blocks(passengers, seed)], ignore_index=True)


def blocks(passengers: int, seed: int) -> Iterator[Block]:
    """Yield the same list block by block. Raises ValueError as `draw` does."""
    if passengers < 1 or seed < 0:
        raise ValueError(f"{passengers} passengers with seed {seed}: wanted at least 1, and 0")
    crowd = _crowd(seed)
    if passengers == PASSENGERS:
        yield crowd.exact()
        return
    for number, start in enumerate(range(0, passengers, BLOCK)):
        yield crowd.block(number, min(BLOCK, passengers - start))


def split(frame: pd.DataFrame, seed: int = SEED) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide a table into four fifths to train on and one to test on, each in the table's order.

    Each class, sex and fate gives a fifth of its passengers, or the nearest integer to it.
    """
    strata = frame[["Pclass", "Sex", "Survived"]].astype(str).itertuples(index=False, name=None)
    held_out = held_out_rows(list(strata), seed)
    return frame[[not h for h in held_out]], frame[held_out]


def held_out_rows(strata: list[tuple[str, ...]], seed: int) -> list[bool]:
    """Return for each row whether it is for the test.

    A fifth of all rows is, rounded up, and a fifth (within one) of each stratum.
    """
    rows = len(strata)
    tests = -(-rows // TEST_SHARE)
    uniform = Uniform(SPLIT, seed)(rows).tolist()
    held_out = [False] * rows
    for rank, row in enumerate(sorted(range(rows), key=lambda r: (strata[r], uniform[r]))):
        held_out[row] = (rank + 1) * tests // rows > rank * tests // rows
    return held_out


@lru_cache(maxsize=4)
def _crowd(seed: int) -> Crowd:
    """Return all lists of this seed; that takes a second, so it is done once."""
    try:
        return Crowd(json.loads(FIGURES.read_text(encoding="utf-8")), seed)
    except FileNotFoundError:
        raise ValueError(
            f"{FIGURES} is missing: the list is drawn from it; restore it with `git checkout data`"
        ) from None


# --- writing -------------------------------------------------------------------------------------


@contextmanager
def _staged(paths: list[Path]) -> Iterator[list[Path]]:
    """Yield temporary names to write to; rename them to `paths` at the end, or delete them after
    an error."""
    parts = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        yield parts
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


class _CsvFile:
    def __init__(self, path: Path, header: Iterable[str] = COLUMNS) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(header)

    def write(self, block: Block) -> None:
        self.write_texts(block.texts())

    def write_texts(self, rows: Iterable[Iterable]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        self._file.close()


class _ParquetFile:
    """The CSV file's columns as int64, float64 and text, its gaps as nulls; a row group a block."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise ValueError(
                "Parquet files need pyarrow: `pip install pyarrow`, or use --format csv"
            ) from None
        kinds = dict.fromkeys(COLUMNS, pa.int64()) | {"Age": pa.float64(), "Fare": pa.float64()}
        kinds |= dict.fromkeys(TEXT_COLUMNS, pa.string())
        self._schema = pa.schema(kinds)
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, block: Block) -> None:
        import pyarrow as pa

        table = pa.Table.from_pandas(block.frame(), schema=self._schema, preserve_index=False)
        self._writer.write_table(table.replace_schema_metadata(None))

    def close(self) -> None:
        self._writer.close()


def write_list(passengers: int, seed: int, out: Path, shards: int | None, kind: str) -> list[Path]:
    """Write a list into `out`, as one file or in `shards` of (nearly) one size. Returns the paths.

    Raises ValueError for more shards than passengers, for files in `out` that would be read as part
    of the list, and for too little room on the disk; OSError as writing does.
    """
    if shards is not None and not 1 <= shards <= passengers:
        raise ValueError(f"--shards {shards}: a list of {passengers} takes from 1 to {passengers}")
    names = (
        [f"titanic.{kind}"]
        if shards is None
        else [f"titanic_{i:05d}.{kind}" for i in range(shards)]
    )
    paths = [out / name for name in names]
    _make_room(out, paths, passengers * BYTES_EACH[kind])
    ends = [(i + 1) * passengers // len(paths) for i in range(len(paths))]
    open_file = _CsvFile if kind == "csv" else _ParquetFile
    small = passengers <= BLOCK
    with (
        _staged(paths) as parts,
        tqdm(total=passengers, unit=" passengers", unit_scale=True, disable=small) as progress,
    ):
        shard, written, file = 0, 0, open_file(parts[0])
        try:
            for block in blocks(passengers, seed):
                start = 0
                while start < len(block):
                    stop = min(len(block), start + ends[shard] - written)
                    file.write(block.rows(start, stop))
                    progress.update(stop - start)
                    written, start = written + stop - start, stop
                    if written == ends[shard] and shard + 1 < len(paths):
                        file.close()
                        shard += 1
                        file = open_file(parts[shard])
        finally:
            file.close()
    return paths


def _make_room(out: Path, paths: list[Path], size: int) -> None:
    """Make `out` where it is missing, and check that it has room and no files of another list."""
    out.mkdir(parents=True, exist_ok=True)
    # A reader of the folder reads every file in it, also one of an earlier list.
    strangers = sorted({*out.glob("*.csv"), *out.glob("*.parquet")} - set(paths))
    if strangers:
        raise ValueError(
            f"{out} holds {strangers[0].name}, which is no part of this list but would be read "
            "with it: choose another folder with --out, or remove that file"
        )
    free = shutil.disk_usage(out).free
    if free < size:
        raise ValueError(
            f"{out} has {free / 1e9:.1f} GB left and this list may need {size / 1e9:.1f}: "
            "choose another disk with --out, or fewer --passengers"
        )


def write_split(header: list[str], rows: list[tuple], seed: int, out: Path) -> list[Path]:
    """Write rows of CSV cells into `out` as titanic_train.csv and titanic_test.csv.

    Return their paths.
    """
    columns = [header.index(column) for column in ("Pclass", "Sex", "Survived")]
    held_out = held_out_rows([tuple(str(row[p]) for p in columns) for row in rows], seed)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "titanic_train.csv", out / "titanic_test.csv"]
    with _staged(paths) as parts:
        for part, test in zip(parts, (False, True), strict=True):
            file = _CsvFile(part, header)
            try:
                file.write_texts(r for r, h in zip(rows, held_out, strict=True) if h is test)
            finally:
                file.close()
    return paths


def read_rows(path: Path) -> tuple[list[str], list[tuple]]:
    """Return the header and rows of a CSV file of passengers, as text.

    Raises ValueError, naming the file and line, where it is not a table that can be divided.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise ValueError(f"{path} has no column {missing[0]}: wanted {', '.join(COLUMNS)}")
            rows = []
            for row in filter(None, reader):  # a blank line is an empty row
                if len(row) != len(header):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, "
                        f"wanted {len(header)} as in the header"
                    )
                rows.append(tuple(row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from None
    if len(rows) < TEST_SHARE:
        raise ValueError(f"{path} has {len(rows)} rows: wanted at least {TEST_SHARE} to divide")
    return header, rows


# --- command line --------------------------------------------------------------------------------


def _integer(least: int) -> Callable[[str], int]:
    def integer(value: str) -> int:
        if not value.isascii() or not value.isdigit() or int(value) < least:
            raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of at least {least}")
        return int(value)

    return integer


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--passengers", type=_integer(1), help="make a list of this size, not divided"
    )
    what.add_argument("--split", type=Path, metavar="FILE", help="divide this CSV file instead")
    parser.add_argument("--out", type=Path, help="folder to write into (default: data)")
    parser.add_argument("--seed", type=_integer(0), default=SEED, help="default: %(default)s")
    parser.add_argument(
        "--shards", type=_integer(1), help="files to cut the list into (default: one)"
    )
    parser.add_argument("--format", choices=list(BYTES_EACH), help="default: csv")
    args = parser.parse_args(argv)
    if args.passengers is None and (args.shards or args.format):
        parser.error("--shards and --format go with --passengers")
    if args.passengers is not None and args.out is None:
        parser.error(
            "--passengers needs --out, a folder for the list: data is for the two shipped files"
        )
    args.out = args.out or DATA
    return args


def main(argv: list[str] | None = None) -> None:
    """Run the command line. A bad argument exits with 2, what cannot be read or written with 1."""
    args = _parse(argv)
    try:
        if args.passengers is not None:
            paths = write_list(
                args.passengers, args.seed, args.out, args.shards, args.format or "csv"
            )
        elif args.split is not None:
            paths = write_split(*read_rows(args.split), args.seed, args.out)
        else:
            (block,) = blocks(PASSENGERS, args.seed)
            paths = write_split(COLUMNS, list(block.texts()), args.seed, args.out)
    except OSError as error:
        # Such as a folder that may not be written, or a disk that is full.
        where, why = error.filename or args.out, error.strerror or error
        sys.exit(f"make_titanic: cannot use {where}: {why}; nothing was written")
    except ValueError as error:
        sys.exit(f"make_titanic: {error}")
    print("wrote", *paths[:2], *(["...", paths[-1]] if len(paths) > 2 else []))


if __name__ == "__main__":
    main()
