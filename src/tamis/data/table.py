"""The Table: records with stable ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import polars as pl

from tamis.data.chats import Chat, chat_from_fields, chat_text, normalise_chat, split_chat
from tamis.data.ids import frame_digest
from tamis.data.ingest import finish
from tamis.data.parsed import Parsed, parse_records
from tamis.data.records import records_from_columns
from tamis.data.rejects import Rejects, empty_rejects
from tamis.data.roles import TEXT_ROLES
from tamis.data.rows import quoted, row_positions
from tamis.data.source import Source
from tamis.errors import DataError, RecipeError

_SHOWN = 3


@dataclass(frozen=True, repr=False, eq=False)
class Table:
    r"""Records with unique ids, and the roles of their columns. A table is never changed; methods return new ones.

    Make one with :func:`tamis.data.read`, :meth:`from_frame` or :meth:`from_records`.

    Parameters
    ----------
    frame : pl.DataFrame
        First column ``id`` (String, unique, no nulls), then the columns of the source.
    roles : dict
        Role to column, see :data:`tamis.data.ROLES`.
    source : Source
        Where the records came from.
    rejects : pl.DataFrame
        Rows of the source that could not be used: file, line, reason, raw.
    layout_rows : pl.Series, optional
        Index into ``source.layouts`` of each row.

    Raises
    ------
    DataError
        If ``id`` is not the first column, not text, or not unique.

    Examples
    --------
    >>> table = Table.from_records([{"prompt": "1+1?", "response": "2"}, {"prompt": "2+2?", "response": "4"}])
    >>> table
    Table(2 rows: prompt=prompt, response=response)
    >>> table.take([1]).texts()
    ['###user: 2+2?\n###assistant: 4']
    """

    frame: pl.DataFrame
    roles: dict[str, str] = field(default_factory=dict)
    source: Source = field(default_factory=lambda: Source("polars"))
    rejects: pl.DataFrame = field(default_factory=empty_rejects)
    layout_rows: pl.Series | None = None

    def __post_init__(self) -> None:
        if self.frame.columns[:1] != ["id"] or self.frame.schema["id"] != pl.String:
            raise DataError("The frame of a Table must have 'id' of type String as its first column; use from_frame.")
        ids = self.frame["id"]
        if ids.null_count():
            raise DataError(f"The ids of a Table must not be null, but {ids.null_count()} are.")
        if ids.n_unique() < len(ids):
            twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True).head(_SHOWN).to_list()
            raise DataError(f"The ids of a Table must be unique, but {quoted(twice)} occur more than once.")

    @classmethod
    def from_parsed(
        cls, parsed: Parsed, *, id_column: str | None = None, roles: Mapping[str, str] | None = None
    ) -> Table:
        """Make a table from what a reader parsed; raises what :meth:`from_frame` raises."""
        done, found = finish(parsed, id_column=id_column, roles=roles)
        return cls(done.frame, found, done.source, done.rejects.frame, done.layout_rows)

    @classmethod
    def from_frame(
        cls,
        frame: pl.DataFrame,
        id_column: str | None = None,
        roles: Mapping[str, str] | None = None,
        *,
        source: Source | None = None,
        json_columns: Sequence[str] = (),
    ) -> Table:
        """Make a table from a Polars frame.

        Parameters
        ----------
        frame : pl.DataFrame
            One row per record.
        id_column : str, optional
            Column of unique ids. Default: ``id`` if there is one, else ids are made from the content.
        roles : mapping, optional
            Role to column; goes over what is detected.
        source : Source, optional
            Where the frame came from, for messages and for writing.
        json_columns : sequence of str
            Text columns whose cells are JSON.

        Raises
        ------
        DataError
            If no row is usable, or ids are null or duplicated.
        RecipeError
            If a role or column is unknown.

        Examples
        --------
        >>> Table.from_frame(pl.DataFrame({"qid": [1, 2], "text": ["a", "b"]}), "qid").ids.to_list()
        ['1', '2']
        """
        source = source or Source("polars", json_columns=tuple(json_columns))
        return cls.from_parsed(Parsed(frame, source), id_column=id_column, roles=roles)

    @classmethod
    def from_records(
        cls,
        records: Iterable[Mapping[str, Any]],
        id_column: str | None = None,
        roles: Mapping[str, str] | None = None,
        *,
        source: Source | None = None,
    ) -> Table:
        """Make a table from dicts as the json module gives them; see :meth:`from_frame` for the rest.

        Examples
        --------
        >>> len(Table.from_records([{"text": "a"}, {"text": "b"}, {"text": ""}]))
        2
        """
        source = source or Source("records")
        items = ((source.name, line, record) for line, record in enumerate(records, 1))
        parsed = parse_records(items, source, Rejects())
        return cls.from_parsed(parsed, id_column=id_column, roles=roles)

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        roles = ", ".join(f"{role}={column}" for role, column in self.roles.items()) or "no roles"
        rejected = f"; {self.rejects.height} rejected" if self.rejects.height else ""
        return f"Table({len(self)} rows: {roles}{rejected})"

    @property
    def ids(self) -> pl.Series:
        """The ids, String, shape (n,)."""
        return self.frame["id"]

    @cached_property
    def digest(self) -> str:
        """128-bit BLAKE2 over ids and all cells, 32 hex digits, whatever the order of rows and columns."""
        return frame_digest(self.frame, json_columns=self.source.json_columns)

    def take(self, rows: Sequence[int] | Sequence[bool] | pl.Series | Any) -> Table:
        """Return the rows at these positions, in this order, or where a boolean mask is true.

        Parameters
        ----------
        rows : sequence, NumPy array or Series
            Positions in 0..n-1, or n booleans.

        Raises
        ------
        RecipeError
            If a position is out of range, or a mask has another length.
        DataError
            If a position is named twice, since ids are unique.

        Examples
        --------
        >>> table = Table.from_records([{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
        >>> table.take([False, True]).ids.to_list()
        ['b']
        """
        wanted = row_positions(rows, len(self))
        layout_rows = None if self.layout_rows is None else self.layout_rows[wanted]
        return replace(self, frame=self.frame[wanted], layout_rows=layout_rows)

    def select_ids(self, ids: Iterable[str]) -> Table:
        """Return the rows with these ids, in the order given.

        Raises
        ------
        DataError
            If an id is not in the table or is named twice.

        Examples
        --------
        >>> table = Table.from_records([{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
        >>> table.select_ids(["b", "a"]).frame["text"].to_list()
        ['y', 'x']
        """
        asked = pl.DataFrame({"id": pl.Series(list(ids), dtype=pl.String)})
        places = asked.join(self.frame.select("id").with_row_index("row"), on="id", how="left", maintain_order="left")
        unknown = places.filter(pl.col("row").is_null())["id"].to_list()
        if unknown:
            raise DataError(
                f"{len(unknown)} of {asked.height} ids are not in the table (first: {quoted(unknown[:_SHOWN])}); "
                "use ids of the same table, ids made from content change with the content."
            )
        return self.take(places["row"])

    def with_columns(self, *columns: pl.Series) -> Table:
        """Return the table with columns of n values added or replaced; ids stay as they are.

        Raises
        ------
        RecipeError
            If a column is called ``id`` or has another length.

        Examples
        --------
        >>> table = Table.from_records([{"text": "x"}])
        >>> table.with_columns(pl.Series("rating", [4.5])).frame.columns
        ['id', 'text', 'rating']
        """
        for column in columns:
            if column.name == "id" or len(column) != len(self):
                raise RecipeError(
                    f"A column added to a Table must have {len(self)} values and a name other than 'id'. "
                    f"Got {column.name!r} with {len(column)} values instead."
                )
        names = {column.name for column in columns}
        json_columns = tuple(name for name in self.source.json_columns if name not in names)
        source = replace(self.source, json_columns=json_columns)
        return replace(self, frame=self.frame.with_columns(columns), source=source)

    def output_frame(self, *, with_ids: bool = False) -> pl.DataFrame:
        """Return the columns of the source in their order, an id column with its type; generated ids on request.

        Examples
        --------
        >>> Table.from_frame(pl.DataFrame({"text": ["x"], "id": [7]})).output_frame()["id"].to_list()
        [7]
        """
        source = self.source
        if source.id_column != "id":
            return self.frame if with_ids else self.frame.drop("id")
        ids = self.ids if source.id_dtype is None else self.ids.cast(source.id_dtype)
        rest = self.frame.drop("id")
        return rest.insert_column(min(source.id_position, rest.width), ids)

    def records(self, *, with_ids: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the rows as objects, JSON cells decoded, keys as in the source; generated ids on request.

        Examples
        --------
        >>> list(Table.from_records([{"text": "x", "n": 1}, {"n": 1.5, "text": "y"}]).records())
        [{'text': 'x', 'n': 1}, {'n': 1.5, 'text': 'y'}]
        """
        return records_from_columns(
            self.output_frame(with_ids=with_ids),
            json_columns=self.source.json_columns,
            layouts=self.source.layouts,
            layout_rows=self.layout_rows,
        )

    def chats(self) -> list[Chat]:
        """Return each record as messages with the roles system, user, assistant or tool, shape (n,).

        A context follows the prompt behind an empty line.

        Raises
        ------
        DataError
            If no column has a text role.

        Examples
        --------
        >>> Table.from_records([{"conversations": [{"from": "human", "value": "Hi"}]}]).chats()
        [[{'role': 'user', 'content': 'Hi'}]]
        """
        if "messages" in self.roles:
            return [normalise_chat(value) for value in self._values("messages")]
        self._need_text()
        cells = [self._values(role) for role in ("prompt", "context", "response")]
        return [chat_from_fields(*fields) for fields in zip(*cells, strict=True)]

    def texts(self) -> list[str]:
        r"""Return each record as ``###role: content`` lines joined by line breaks, the text that is embedded.

        Examples
        --------
        >>> Table.from_records([{"question": "1+1?", "answer": 2}]).texts()
        ['###user: 1+1?\n###assistant: 2']
        """
        return [chat_text(chat) for chat in self.chats()]

    def prompts(self) -> list[str]:
        r"""Return what was asked in each record.

        This is the prompt and its context; of a chat, the user's messages before the last answer.

        Examples
        --------
        >>> Table.from_records([{"instruction": "Translate.", "input": "Oui", "output": "Yes"}]).prompts()
        ['Translate.\n\nOui']
        """
        return [split_chat(chat)[0] for chat in self.chats()]

    def responses(self) -> list[str]:
        """Return the answer of each record: the response, or the last assistant message; empty if there is none.

        Examples
        --------
        >>> Table.from_records([{"instruction": "Translate.", "input": "Oui", "output": "Yes"}]).responses()
        ['Yes']
        """
        return [split_chat(chat)[1] for chat in self.chats()]

    def _need_text(self) -> None:
        if not self.roles.keys() & set(TEXT_ROLES):
            names = ", ".join(self.frame.columns[1:])
            raise DataError(
                f"No column of {self.source.name} is known to hold a prompt, response or messages (columns: {names}); "
                "name them, for example roles={'prompt': ..., 'response': ...}."
            )

    def _values(self, role: str) -> list[Any]:
        """The cells of a role, JSON decoded; nulls without the role."""
        name = self.roles.get(role)
        if name is None:
            return [None] * len(self)
        as_json = [name] if name in self.source.json_columns else []
        return [record[name] for record in records_from_columns(self.frame.select(name), json_columns=as_json)]
