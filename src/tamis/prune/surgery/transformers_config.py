"""A raw configuration as transformers understands it, with all that it derives from it."""

from __future__ import annotations

import json
from typing import Any

from tamis.errors import RecipeError
from tamis.models._transformers import first_line, quiet, require


def model_config(config: dict[str, Any]) -> Any | None:
    """Return the configuration object of a raw ``config.json``; None if transformers knows no such model.

    Parameters
    ----------
    config : dict
        Not changed. What it says about quantisation is left out, so that a model made from it has plain weights.

    Returns
    -------
    transformers.PretrainedConfig or None

    Raises
    ------
    RecipeError
        If transformers knows the model type and refuses the configuration.
    MissingExtraError
        If transformers is not installed.
    """
    require("torch", "transformers")
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING:
        return None
    plain = {key: value for key, value in config.items() if key != "quantization_config"}
    try:
        with quiet():
            return CONFIG_MAPPING[kind].from_dict(decoded(plain))
    except (
        StrictDataclassError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        ZeroDivisionError,
    ) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise RecipeError(
            f"transformers refuses the configuration of this {kind} model ({said.rstrip('.')})."
        ) from error


def decoded(config: dict[str, Any]) -> dict[str, Any]:
    """Return a copy in which numbers that JSON has not, such as infinity, are no longer spelt as objects.

    Examples
    --------
    >>> decoded({"time_step_limit": [0.0, {"__float__": "Infinity"}]})
    {'time_step_limit': [0.0, inf]}
    """

    def number(entry: dict[str, Any]) -> Any:
        return float(entry["__float__"]) if entry.keys() == {"__float__"} else entry

    return dict(json.loads(json.dumps(config), object_hook=number))


def decoder_config(config: Any) -> Any:
    """The part of a configuration object that describes the decoder; most often the object itself."""
    return config.get_text_config(decoder=True)


def meta_network(config: dict[str, Any]) -> Any:
    """Build the causal language model of a raw configuration on torch's meta device, in float32.

    Raises
    ------
    RecipeError
        If transformers knows no such causal language model, or cannot build it.
    """
    made = model_config(config)
    if made is None:
        raise RecipeError(
            f"The installed transformers knows no model type {config.get('model_type')!r}, so that tamis cannot check "
            "whether each kept layer stays what it was; update transformers."
        )
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    try:
        with quiet(), torch.device("meta"), no_init_weights():
            return AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        ImportError,
        RuntimeError,
        AssertionError,
    ) as error:
        raise RecipeError(
            f"transformers cannot build a causal language model of the type {config['model_type']!r} from this "
            f"configuration ({first_line(error)})."
        ) from error
