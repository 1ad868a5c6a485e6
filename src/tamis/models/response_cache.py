"""Replies of judges on disk, so that no answer is asked or paid for twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tamis.cache import cache_folder
from tamis.errors import RunStateError
from tamis.models.judging import JudgePrompt, Reply
from tamis.runs.digests import digest_json

FILE = "replies.sqlite"
WAIT_SECONDS = 60.0
_AT_ONCE = 500
_COLUMNS = "status, text, input_tokens, output_tokens, attempts, error, batch"
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, run TEXT NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, attempts INTEGER NOT NULL, error TEXT NOT NULL,
    batch INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS habits (
    fingerprint TEXT PRIMARY KEY, seconds REAL NOT NULL, output_tokens REAL
) WITHOUT ROWID;
"""


class Habit(NamedTuple):
    """How a judge answers.

    Attributes
    ----------
    seconds : float
        Wall time a reply, with as many calls at once as it bore.
    output_tokens : float or None
        Tokens a reply; None where the back-end does not say.
    """

    seconds: float
    output_tokens: float | None


def reply_key(fingerprint: str, prompt: JudgePrompt, sample: int) -> str:
    """Key of a reply: a digest of (model fingerprint, canonical payload, sample index), and the truth if it is told."""
    told = [] if prompt.truth is None else [prompt.truth]
    return digest_json([fingerprint, prompt.payload(), sample, *told])


class ResponseCache:
    """An SQLite file of replies. Only the process that drives a run writes; workers hand their replies to it.

    A reply is safe as soon as :meth:`put` returns: the write-ahead log survives ``kill -9``. Runs that share the file
    write in turn.

    Parameters
    ----------
    path : str or Path
        The file; created with its folder.

    Raises
    ------
    RunStateError
        If the file is no cache of replies, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with ResponseCache(Path(tempfile.mkdtemp()) / "replies.sqlite") as cache:
    ...     cache.put([("k", Reply("answered", '{"overall": 7}'))], run="r")
    ...     cache.get(["k", "absent"])["k"].text
    '{"overall": 7}'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path,
                timeout=WAIT_SECONDS,
                isolation_level=None,
                check_same_thread=False,  # one thread at a time, but in a notebook not the one that opened it
            )
        except (OSError, sqlite3.Error) as error:
            raise RunStateError(f"The cache of replies {self.path} cannot be opened: {error}.") from error
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            self._connection.close()
            raise RunStateError(_unusable(self.path, error)) from error

    @classmethod
    def of_user(cls) -> ResponseCache:
        """The file in the user's cache folder, shared by all runs."""
        return cls(cache_folder() / FILE)

    def put(self, replies: Iterable[tuple[str, Reply]], *, run: str) -> None:
        """Store replies in one transaction; one under a key that is there replaces it.

        Parameters
        ----------
        replies : iterable of (key, Reply)
        run : str
            Who asked: what a run spends is what it asked for itself.

        Raises
        ------
        RunStateError
            If the file cannot be written: the disk is full, another process holds the file, or it is damaged.
        """
        rows = [
            (key, run, r.status, r.text, r.input_tokens, r.output_tokens, r.attempts, r.error, r.batch)
            for key, r in replies
        ]
        with self._told(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO replies VALUES (?,?,?,?,?,?,?,?,?)", rows)

    def get(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Replies by key; absent keys are left out."""
        return {key: reply for key, _, reply in self._rows(keys)}

    def asked_by(self, keys: Sequence[str], *, run: str) -> set[str]:
        """Those of the keys whose reply the run asked for itself."""
        return {key for key, owner, _ in self._rows(keys) if owner == run}

    def _rows(self, keys: Sequence[str]) -> Iterator[tuple[str, str, Reply]]:
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, run, {_COLUMNS} FROM replies WHERE key IN ({marks})"
            with self._told():
                found = self._connection.execute(query, some).fetchall()
            for key, run, status, text, read, written, attempts, error, batch in found:
                yield key, run, Reply(status, text, read, written, attempts, error, bool(batch))

    def note_habit(self, fingerprint: str, habit: Habit) -> None:
        """Remember how a judge answered when it was last asked, for the next plan."""
        with self._told():
            self._connection.execute("INSERT OR REPLACE INTO habits VALUES (?,?,?)", (fingerprint, *habit))

    def habit(self, fingerprint: str) -> Habit | None:
        """How a judge answered when it was last asked; None if it never was."""
        query = "SELECT seconds, output_tokens FROM habits WHERE fingerprint = ?"
        with self._told():
            found = self._connection.execute(query, (fingerprint,)).fetchone()
        return None if found is None else Habit(*found)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in one sentence what is wrong with the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise RunStateError(_unusable(self.path, error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file. A cache is also a context manager that does so."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def replies_of(run: str) -> int:
    """Count the replies in the user's cache that a run asked for itself, without creating or changing the file.

    Raises
    ------
    RunStateError
        If the file cannot be read.
    """
    path = cache_folder() / FILE
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT count(*) FROM replies WHERE run = ?", (run,)).fetchone()
    except sqlite3.Error as error:
        raise RunStateError(_unusable(path, error)) from error
    return int(found[0])


def _unusable(path: Path, error: sqlite3.Error) -> str:
    remedy = "move it away, or set TAMIS_CACHE to another folder"
    # the low byte is the kind of error, the others say more about it
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        remedy = "wait for the process that holds it, or end it, and go on with 'tamis resume'"
    elif kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        remedy = "free some space and go on with 'tamis resume', or set TAMIS_CACHE to another folder"
    elif kind == sqlite3.SQLITE_READONLY:
        remedy = "make it writable, or set TAMIS_CACHE to another folder"
    return f"The cache of replies {path} cannot be used ({error}); {remedy}."
