"""What a trainer's configuration must say, written beside the masks that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tamis.data.writers.token_segments import SEGMENTS
from tamis.runs.atomic import atomic_write_text

FOLDER = "llama-factory"
README = "README.md"
_AXOLOTL = """\
# Paste into the configuration of axolotl.
# sequence_len must be {longest} or more: axolotl drops longer records. train_on_inputs must be false.
# Prepared data is cached by path: after a new mask under the same name, delete dataset_prepared_path.
"""

_LLAMA_FACTORY = """\
# Masked tokens for LLaMA-Factory

{rows} records, {tokens} tokens, of which {kept} carry the loss. Put into the training configuration:

```yaml
stage: sft
dataset: tamis        # any name: one is asked for, and not looked up where tokenized_path exists
tokenized_path: {path}
```

**Carried:** the token ids and, token by token, which of them are trained on (`labels`, -100 elsewhere).

**Not carried:** LLaMA-Factory reads no mask from text data; `mask_history` and `train_on_prompt` mask whole messages.
With `tokenized_path` they and other data options (`cutoff_len`, `packing`, `val_size`, `max_samples`) change nothing:
records are as long as here, up to {longest} tokens. Leave `neat_packing` off, and train the model whose tokenizer made
the ids.
"""


def add_notes(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Write what the trainer's configuration must say, beside the data."""
    format, longest = found["format"], found["longest"]
    if format in ("axolotl", SEGMENTS):
        kind = "parquet" if path.suffix == ".parquet" else "json"
        type_ = "input_output" if format == SEGMENTS else None
        entry = yaml.safe_dump({"datasets": [{"path": str(path.resolve()), "ds_type": kind, "type": type_}]})
        note = path.with_suffix(".yaml")
        atomic_write_text(note, _AXOLOTL.format(longest=longest) + entry)
    elif format == FOLDER:
        note = path / README
        atomic_write_text(
            note, _LLAMA_FACTORY.format(path=json.dumps(str(path.resolve()), ensure_ascii=False), **found)
        )
    else:
        return found
    return found | {"files": [*found["files"], str(note)]}
