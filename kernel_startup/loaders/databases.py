"""Databases: a mapping of tables to DataFrames, each read when it is asked for."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.source import Source, kept_directory

_MAX_SHOWN = 30
#: A view can ask for rows without end: it gets no more than this or the file's size in bytes,
#: more than any table can have.
_MIN_ROWS = 1_000_000
_BATCH_ROWS = 50_000
#: Counting the rows of a big table reads all of it: after so many steps it is left.
_COUNT_STEPS = 50
_STEP_INSTRUCTIONS = 100_000


class Database(Mapping[str, Any]):
    """A database's tables by name; each is read to a pandas.DataFrame when it is asked for.

    Attributes:
        connection: The connection, which can only read.
        tables: The names of the tables and views.
    """

    def __init__(self, name: str, kind: str, connection: Any, tables: list[str]) -> None:
        self.connection = connection
        self.tables = tables
        self._name = name
        self._kind = kind

    def __getitem__(self, table: str) -> Any:
        if table not in self.tables:
            raise KeyError(f"{table!r}: the tables are {', '.join(map(repr, self.tables))}")
        return self.sql(f"SELECT * FROM {_quoted(table)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def __contains__(self, table: object) -> bool:
        return table in self.tables

    def sql(self, query: str, parameters: Any = ()) -> Any:
        """Run a query; gives a DataFrame."""
        raise NotImplementedError

    def count(self, table: str) -> int | None:
        """Count a table's rows; None if that takes long, or it can't be read."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [f"{self._kind} {self._name!r} with {len(self.tables)} tables"]
        for table in self.tables[:_MAX_SHOWN]:
            rows = self.count(table)
            lines.append(f"  {table}: {'?' if rows is None else f'{rows:,}'} rows")
        if len(self.tables) > _MAX_SHOWN:
            lines.append(f"  ... and {len(self.tables) - _MAX_SHOWN} more")
        return "\n".join(lines)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class SQLiteDatabase(Database):
    """An SQLite database, opened for reading only."""

    max_rows = _MIN_ROWS

    def __getitem__(self, table: str) -> Any:
        if table not in self.tables:
            return super().__getitem__(table)
        return self._run(f"SELECT * FROM {_quoted(table)}", (), self.max_rows)

    def sql(self, query: str, parameters: Any = ()) -> Any:
        return self._run(query, parameters, None)

    def _run(self, query: str, parameters: Any, limit: int | None) -> Any:
        import sqlite3

        import pandas as pd

        try:
            cursor = self.connection.execute(query, parameters)
            names = [column[0] for column in cursor.description or ()]
            parts, count = [], 0
            while rows := cursor.fetchmany(_BATCH_ROWS):
                parts.append(pd.DataFrame(rows, columns=names))
                count += len(rows)
                if limit is not None and count > limit:
                    raise FileLoadError(
                        self._name,
                        f"an SQLite database with a view of more than {limit:,} rows",
                        remedy=".sql(query) with a LIMIT reads some of them",
                    )
        except sqlite3.DatabaseError as error:
            raise _broken(self._name, error) from error
        if not parts:
            return pd.DataFrame(columns=names)
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def count(self, table: str) -> int | None:
        import sqlite3

        steps = iter(range(_COUNT_STEPS))
        self.connection.set_progress_handler(
            lambda: int(next(steps, None) is None), _STEP_INSTRUCTIONS
        )
        try:
            row = self.connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()
            return int(row[0])
        except sqlite3.DatabaseError:
            return None
        finally:
            self.connection.set_progress_handler(None, 0)


def _broken(name: str, error: Exception) -> FileLoadError:
    return FileLoadError(name, "an SQLite database", "reading it", str(error))


def load_sqlite(source: Source, *, table: str | None = None) -> Any:
    """Open an SQLite database for reading; table= gives one table as a DataFrame."""
    import sqlite3
    from urllib.parse import quote

    path = source.as_path()
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1",
        uri=True,
        check_same_thread=False,
    )
    try:
        connection.text_factory = _as_text
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA query_only=ON")
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, rowid"
        ).fetchmany(100_000)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _broken(source.name, error) from error
    tables = [str(row[0]) for row in rows]
    wal = source.head[18:19] == b"\2"
    if wal and any(p.name == f"{source.name}-wal" and p.stat().st_size for p in source.neighbours):
        source.note(f"{source.name!r}: what its write-ahead log holds isn't read.")
    database = SQLiteDatabase(source.name, "SQLite database", connection, tables)
    database.max_rows = max(path.stat().st_size, _MIN_ROWS)
    return database if table is None else database[table]


def _as_text(content: bytes) -> str:
    return content.decode(errors="replace")


class DuckDatabase(Database):
    """A DuckDB database, opened for reading only."""

    def sql(self, query: str, parameters: Any = ()) -> Any:
        return self.connection.execute(query, list(parameters)).df()

    def count(self, table: str) -> int | None:
        row = self.connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()
        return int(row[0])


def load_duckdb(source: Source, *, table: str | None = None) -> Any:
    """Open a DuckDB database for reading; table= gives one table as a DataFrame."""
    import duckdb

    connection = duckdb.connect(str(source.as_path()), read_only=True)
    rows = connection.execute(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'main' ORDER BY table_name"
    ).fetchall()
    database = DuckDatabase(
        source.name, "DuckDB database", connection, [str(row[0]) for row in rows]
    )
    return database if table is None else database[table]


def load_access(source: Source, *, table: str | None = None) -> Any:
    """Read an Access database's tables; table= gives one of them."""
    import logging

    handlers = [*logging.root.handlers]
    level, disabled = logging.root.level, logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # it tells the root logger of every value it doesn't know
    try:
        return _read_access(source, table)
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # importing it configures logging for everyone
        logging.root.setLevel(level)


def _read_access(source: Source, table: str | None) -> Any:
    import pandas as pd
    from access_parser import AccessParser, utils

    utils.mdb_date_to_readable = _access_date  # its own fails for dates out of Python's range
    try:
        parser = AccessParser(str(source.as_path(".mdb")))
    except KeyError as error:  # it looks up pages that encryption has made something else of
        raise FileLoadError(
            source.name,
            "an Access database that is protected by a password, or damaged",
            tried="access-parser",
            reason="its pages make no sense",
            remedy="Save it without a password and upload it again",
        ) from error
    names = [name for name in parser.catalog if not name.startswith(("MSys", "~", "f_"))]
    if table is not None and table not in names:
        raise ValueError(f"table={table!r}: the tables are {', '.join(map(repr, names))}")
    found: dict[str, Any] = {}
    for name in names if table is None else [table]:
        try:
            columns = parser.parse_table(name)
        except Exception as error:  # what one damaged or linked table costs isn't the others
            source.note(f"{source.name!r}: the table {name!r} can't be read ({error}).")
            continue
        found[name] = pd.DataFrame({k: pd.Series(v) for k, v in columns.items()})
    if names and not found:
        raise FileLoadError(source.name, "an Access database", "reading its tables")
    return found if table is None else found[table]


def _access_date(stored: int) -> Any:
    """Days since the end of 1899, in the bytes of a float."""
    import datetime
    import struct

    (days,) = struct.unpack("<d", struct.pack("<Q", stored & (1 << 64) - 1))
    try:
        return datetime.datetime(1899, 12, 30) + datetime.timedelta(days=days) if days else None
    except (OverflowError, ValueError):
        return None


def load_dbf(
    source: Source,
    *,
    encoding: str | None = None,
    columns: list[str] | None = None,
    nrows: int | None = None,
) -> Any:
    """Read a dBASE table, with its memos if their file is there; deleted rows are left out."""
    import struct
    from itertools import islice

    import pandas as pd
    from dbfread import DBF, FieldParser, InvalidValue

    class Parser(FieldParser):  # type: ignore[misc]
        def parse(self, field: Any, data: bytes) -> Any:
            try:
                return super().parse(field, data)
            except (ValueError, struct.error):
                return InvalidValue(data)

    path = _beside_memo(source)
    table = DBF(
        str(path),
        encoding=encoding,
        parserclass=Parser,
        ignore_missing_memofile=True,
        char_decode_errors="replace",
        lowernames=False,
    )
    if table.header.recordlen < 2:
        raise FileLoadError(source.name, "a dBASE table whose records have no length")
    names = [field.name for field in table.fields]
    rows = [list(record.values()) for record in islice(iter(table), nrows)]
    if len(set(names)) < len(names):  # as records are dicts, a name that comes twice counts once
        names = list(dict.fromkeys(names))
    frame = pd.DataFrame(rows, columns=names)
    for field in table.fields:
        if field.type == "D" and frame[field.name].map(_is_date).all():
            frame[field.name] = pd.to_datetime(frame[field.name], errors="coerce")
    return frame if columns is None else frame[columns]


def _is_date(value: Any) -> bool:
    import datetime

    return value is None or (isinstance(value, datetime.date) and 1678 <= value.year <= 2261)


def _beside_memo(source: Source) -> Any:
    """A path to the table in a directory where its memo file lies too."""
    from pathlib import Path

    stem = Path(source.name).stem.lower()
    memos = [
        path
        for path in source.neighbours
        if path.stem.lower() == stem and path.suffix.lower() in (".dbt", ".fpt", ".smt")
    ]
    if not memos:
        return source.as_path(".dbf")
    place = kept_directory() / "file.dbf"
    place.symlink_to(source.as_path(".dbf").absolute())
    place.with_suffix(memos[0].suffix.lower()).symlink_to(memos[0].absolute())
    return place


def load_odb(source: Source) -> FileInfo:
    """Name what an OpenDocument database has: its engine, tables and queries."""
    import zipfile

    facts: dict[str, object] = {}
    with source.open() as file, zipfile.ZipFile(file) as archive:
        script = _member(archive, "database/script").decode("utf-8", errors="replace")
        content = _member(archive, "content.xml").decode("utf-8", errors="replace")
    if "database/script" in archive.namelist():
        facts["engine"] = "HSQLDB"
    found = re.findall(r"CREATE (?:CACHED |MEMORY )?TABLE \"?([^\"( ]{1,200})", script)
    if found:
        facts["tables"] = found[:100]
    queries = re.findall(r"<db:query [^>]{0,500}db:name=\"([^\"]{1,200})", content)
    if queries:
        facts["queries"] = queries[:100]
    return source_info(source, facts, "LibreOffice Base opens it and exports its tables.")


def _member(archive: Any, name: str) -> bytes:
    if name not in archive.namelist():
        return b""
    with archive.open(name) as member:
        content: bytes = member.read(16 << 20)
    return content
