"""Whether two models read the same token ids: their losses may be subtracted only then."""

from __future__ import annotations

import numpy as np

from tamis.data.token_rows import TokenRows
from tamis.errors import DataError
from tamis.models.causal_lm import LocalModel, load_tokenizer

PROBED_ROWS = 100


def require_same_tokens(base: LocalModel, reference: LocalModel, rows: TokenRows) -> None:
    """Raise unless both tokenizers have the same names for all ids in use, and cut the same texts into the same ids.

    Parameters
    ----------
    base, reference : LocalModel
    rows : TokenRows
        Made with the base model's tokenizer.

    Raises
    ------
    DataError
        If they differ: an added token can shift ids, and then losses of different tokens would be compared.
    """
    own, other = load_tokenizer(base), load_tokenizer(reference)
    used = np.unique(rows.ids).tolist()
    for token, name, theirs in zip(used, own.convert_ids_to_tokens(used), _names(other, used), strict=True):
        if name != theirs:
            raise DataError(
                f"The tokenizers of {base.title!r} and {reference.title!r} differ (id {token} is {name!r} in one and "
                f"{theirs!r} in the other): their losses cannot be compared; take a reference that was tuned from the "
                "base."
            )
    for row in range(min(PROBED_ROWS, len(rows))):
        text = own.decode(rows.ids[rows.offsets[row] : rows.offsets[row + 1]].tolist())
        if own(text, add_special_tokens=False)["input_ids"] != other(text, add_special_tokens=False)["input_ids"]:
            raise DataError(
                f"The tokenizers of {base.title!r} and {reference.title!r} cut the record {rows.unit_ids[row]!r} into "
                "different tokens, so their losses cannot be compared; take a reference tuned from the base."
            )


def _names(tokenizer: object, ids: list[int]) -> list[str | None]:
    """Names of the ids; None where the tokenizer has none."""
    size = len(tokenizer)  # type: ignore[arg-type]
    return [tokenizer.convert_ids_to_tokens(i) if i < size else None for i in ids]  # type: ignore[attr-defined]
