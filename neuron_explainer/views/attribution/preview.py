"""A question as a person types it: the tokens of its prompt and answers, mistakes in their place, hints beneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuron_explainer.views.attribution.heading import hints_note
from neuron_explainer.views.document import INK, MUTED, card
from neuron_explainer.views.token_strip import token_boxes
from neuron_explainer.views.token_text import escaped, token_html
from neuron_explainer.wording import counted

if TYPE_CHECKING:
    from neuron_explainer.attribution.question.answers import Answer
    from neuron_explainer.attribution.question.preview import QuestionPreview
    from neuron_explainer.errors import NeuronExplainerError

_N_ENDS = 40  # tokens of the beginning, and of the end, of a long prompt
_MOST_ANSWERS = 50  # alternatives whose tokens are shown
_SMALL = f"color:{MUTED};font-size:12px"
_ERROR_STYLE = f"border-left:4px solid #b42318;background-color:#fff4f2;color:{INK};padding:3px 10px;margin:2px 0"
_TITLE_OF_ERROR = "color:#8f1d13;font-weight:bold"


def preview_html(preview: QuestionPreview, second: QuestionPreview | None = None) -> str:
    """A question that is being typed as static HTML.

    It shows the tokens of the prompt, and of each target and distractor, without the middle of long ones; what is
    wrong, in the place of the field; and hints.

    Args:
        preview: the question, as `ne.preview_question` gives it.
        second: the same for a second prompt alone, which is to have as many tokens.
    """
    rows = [
        _row("prompt", _prompt(preview), preview.errors.get("prompt")),
        _row("target", _answers(preview, preview.targets), preview.errors.get("target")),
        _row("distractor", _answers(preview, preview.distractors), preview.errors.get("distractor")),
        _row("question", escaped(preview.title), preview.errors.get("question")),
    ]
    if second is not None:
        rows.append(_row("2nd prompt", _prompt(second) + _other_length(preview, second), second.errors.get("prompt")))
    hints = hints_note(preview.hints)
    beneath = f'<div style="margin-top:6px">{hints}</div>' if hints else ""
    return card("".join(rows) + beneath, "ne-preview", is_small=True)


def _row(field: str, content: str, error: NeuronExplainerError | None) -> str:
    """A field's name with what was read of it, or what is wrong; empty without either."""
    if error is not None:
        content += (
            f'<div class="ne-error" style="{_ERROR_STYLE};overflow-wrap:anywhere"><span style="{_TITLE_OF_ERROR}">'
            f"Error:</span> {escaped(str(error))}</div>"
        )
    if not content:
        return ""
    return (
        f'<div class="ne-field" style="display:flex;gap:10px;padding:2px 0"><div style="{_SMALL};flex:0 0 76px;'
        f'padding-top:3px">{field}</div> <div style="flex:1 1 0;min-width:0">{content}</div></div>'
    )


def _prompt(preview: QuestionPreview) -> str:
    prompt = preview.prompt
    if prompt is None:
        return ""
    tokens, token_ids = prompt.token_strings, prompt.token_ids
    facts = [f'<span style="white-space:nowrap">{counted(len(tokens), "token")}</span>']
    if prompt.n_beginning:
        beginning = "".join(tokens[: prompt.n_beginning])
        facts.append(f"begins with <bdi>{token_html(beginning)}</bdi>, put before the text")
    return _line(_boxes(tokens, token_ids), " · ".join(facts))


def _boxes(tokens: Sequence[str], token_ids: Sequence[int]) -> str:
    """The boxes of tokens, without the middle of many."""
    left_out = len(tokens) - 2 * _N_ENDS
    if left_out <= 1:
        return token_boxes(tokens, token_ids)
    mark = f'<span style="{_SMALL};white-space:nowrap"> ⋯ {counted(left_out, "token")} ⋯ </span>'
    start = len(tokens) - _N_ENDS
    last = token_boxes(tokens[start:], token_ids[start:], start)
    return token_boxes(tokens[:_N_ENDS], token_ids[:_N_ENDS]) + mark + last


def _other_length(first: QuestionPreview, second: QuestionPreview) -> str:
    """That two prompts cannot be compared, because they differ in their number of tokens; else empty."""
    if first.prompt is None or second.prompt is None:
        return ""
    counts = [len(each.prompt.token_ids) for each in (first, second) if each.prompt is not None]
    if counts[0] == counts[1]:
        return ""
    return hints_note(
        [f"The first prompt has {counts[0]} tokens, this one {counts[1]}. Two prompts are compared token by token."]
    )


def _answers(preview: QuestionPreview, answers: Sequence[Answer]) -> str:
    lines = [
        _line(_boxes(preview.answer_tokens(answer), answer.token_ids), _facts(answer))
        for answer in answers[:_MOST_ANSWERS]
    ]
    if len(answers) > _MOST_ANSWERS:
        lines.append(_line("", f"and {counted(len(answers) - _MOST_ANSWERS, 'other')}"))
    return "".join(lines)


def _facts(answer: Answer) -> str:
    return f"token {answer.token_ids[0]}" if answer.is_one_token else counted(len(answer.token_ids), "token")


def _line(text: str, facts: str) -> str:
    return f'<div style="line-height:1.75;overflow-wrap:anywhere">{text} <span style="{_SMALL}">{facts}</span></div>'
