"""Chat templates in the styles of well-known models, and a small model with a tokenizer that knows their tokens."""

from typing import Any

from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

import neuron_explainer as ne
from helpers.checkpoints import VOCAB_SIZE, byte_level_tokenizer, small_llama

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Be brief<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

WITH_BEGINNING = """{{- bos_token }}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- '<|im_start|>system\\n\\nYear: ' + strftime_now('%Y') + '\\n' + system + eos_token }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n\\n' + message['content'] | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n\\n' }}
{%- endif %}"""

ALTERNATING = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{% set first = messages[0]['content'] | trim + '\\n\\n' %}{% set rest = messages[1:] %}
{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}
{% for message in rest %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate user/assistant') }}
{% endif %}
{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<turn>' + role + '\\n' + (first if loop.first else '') + message['content'] | trim + '</turn>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}"""

INSTRUCTIONS = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + \
message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

WITH_TOOLS = """{%- macro described(tool) -%}
{{ tool.function.name }}: {{ tool | tojson }}
{%- endmacro -%}
{%- if tools %}<|im_start|>tools
{% for tool in tools %}{{ described(tool) }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is defined and message.content is string %}{{ message.content }}{% endif %}
{% for call in message.tool_calls or [] %}<call>{{ call.function.arguments | tojson(indent=2) }}</call>{% endfor %}\
<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""

WITH_LOOP_CONTROLS = """{%- set ns = namespace(last=-1, n=0) %}
{%- for message in messages[::-1] %}
    {%- if message.role == 'user' %}{% set ns.last = messages|length - 1 - loop.index0 %}{% break %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'system' %}{% continue %}{% endif %}
    {%- set ns.n = ns.n + 1 %}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{ '<|im_start|>' ~ message.content ~ '<|im_end|>' }}{% endgeneration %}
    {%- else %}
        {{- ns.n ~ ('!' if loop.index0 == ns.last else '') ~ message.content.split('\\n')[0] | upper }}
    {%- endif %}
{% endfor %}"""

WITH_PARTS = """{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{% if part.type == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

TEMPLATES = {
    "chatml": CHATML,
    "with a beginning": WITH_BEGINNING,
    "alternating": ALTERNATING,
    "instructions": INSTRUCTIONS,
    "with tools": WITH_TOOLS,
    "with loop controls": WITH_LOOP_CONTROLS,
    "with parts": WITH_PARTS,
}
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<turn>", "</turn>"]


def chat_tokenizer(template: Any = CHATML, *, begins: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer of `transformers` with a chat template; with `begins` it puts <s> before every text."""
    backend = byte_level_tokenizer(VOCAB_SIZE - len(SPECIAL))
    backend.add_special_tokens(SPECIAL)
    if begins:
        number = backend.token_to_id("<s>")
        backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", number)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def chat_model(template: Any = CHATML, *, begins: bool = True) -> ne.StandardModelContext:
    """A small model in memory with that tokenizer."""
    return ne.load_model(
        small_llama(max_position_embeddings=512), tokenizer=chat_tokenizer(template, begins=begins), name="small"
    )


def said(*contents: str, system: str | None = None) -> list[dict[str, Any]]:
    """Messages of a user and an assistant in turn, perhaps after one of the system."""
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [
        {"role": "assistant" if number % 2 else "user", "content": content} for number, content in enumerate(contents)
    ]
