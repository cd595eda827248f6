"""The usual names of models on the Hugging Face hub: TransformerLens', Neuronpedia's, and hub ids without their owner.

One line for each model, or for several at once: `{a,b}` stands for a and for b. Before the colon are hub ids; after it
names, in the same order, with a comma between a model's several names. The first is the model's name here, the others,
the last part of the hub id among them, are taken too. Without a colon, the last part of the hub id is the only name.
"""

import itertools
import re
from dataclasses import dataclass

_BY_FAMILY = {
    "gpt2": """
        openai-community/gpt2: gpt2-small
        openai-community/gpt2-{medium,large,xl}
        distilbert/distilgpt2: distilgpt2, distillgpt2, distill-gpt2, distil-gpt2, gpt2-xs
        ai-forever/mGPT
        stanford-crfm/{alias-gpt2-small-x21,battlestar-gpt2-small-x49}: stanford-gpt2-small-{a,b}
        stanford-crfm/{caprica-gpt2-small-x81,darkmatter-gpt2-small-x343}: stanford-gpt2-small-{c,d}
        stanford-crfm/expanse-gpt2-small-x777: stanford-gpt2-small-e
        stanford-crfm/{arwen-gpt2-medium-x21,beren-gpt2-medium-x49}: stanford-gpt2-medium-{a,b}
        stanford-crfm/{celebrimbor-gpt2-medium-x81,durin-gpt2-medium-x343}: stanford-gpt2-medium-{c,d}
        stanford-crfm/eowyn-gpt2-medium-x777: stanford-gpt2-medium-e
    """,
    "gpt_neo": """
        EleutherAI/gpt-neo-125m: gpt-neo-125M, gpt-neo-small, neo-small, neo
        EleutherAI/gpt-neo-{1.3B,2.7B}: gpt-neo-{1.3B,2.7B}, gpt-neo-{medium,large}, neo-{medium,large}
        roneneldan/TinyStories-{1M,3M,8M,28M,33M}: tiny-stories-{1M,3M,8M,28M,33M}
        roneneldan/TinyStories-Instruct-{1M,3M,8M,28M,33M}: tiny-stories-instruct-{1M,3M,8M,28M,33M}
        roneneldan/TinyStories-{1Layer-21M,2Layers-33M}: tiny-stories-{1L-21M,2L-33M}
        roneneldan/TinyStories-{Instuct-1Layer-21M,Instruct-2Layers-33M}: tiny-stories-instruct-{1L-21M,2L-33M}
    """,
    "gptj": """
        EleutherAI/gpt-j-6b: gpt-j-6B, gpt-j, gptj
    """,
    "gpt_neox": """
        EleutherAI/gpt-neox-20b: gpt-neox-20b, gpt-neox, neox
        EleutherAI/pythia-{14m,31m}
        EleutherAI/pythia-70m: pythia-70m, pythia, pythia-19m
        EleutherAI/pythia-70m-deduped: pythia-70m-deduped, pythia-19m-deduped
        EleutherAI/pythia-{160m,410m,1b,1.4b,2.8b,6.9b,12b}:
            pythia-{160m,410m,1b,1.4b,2.8b,6.9b,12b}, pythia-{125m,350m,800m,1.3b,2.7b,6.7b,13b}
        EleutherAI/pythia-{160m,410m,1b,1.4b,2.8b,6.9b,12b}-deduped:
            pythia-{160m,410m,1b,1.4b,2.8b,6.9b,12b}-deduped, pythia-{125m,350m,800m,1.3b,2.7b,6.7b,13b}-deduped
        EleutherAI/pythia-{70m,160m,410m,1b,1.4b,2.8b,6.9b,12b}{-v0,-deduped-v0}
        EleutherAI/pythia-160m-seed{1,2,3}
        stabilityai/stablelm-{base,tuned}-alpha-{3b,7b}
    """,
    "opt": """
        facebook/opt-125m: opt-125m, opt-small, opt
        facebook/opt-{1.3b,2.7b,6.7b}: opt-{1.3b,2.7b,6.7b}, opt-{medium,large,xl}
        facebook/opt-{13b,30b,66b}: opt-{13b,30b,66b}, opt-{xxl,xxxl,xxxxl}
    """,
    "falcon": """
        tiiuae/falcon-{7b,40b}{,-instruct}
    """,
    "phi": """
        microsoft/phi-{1,2}
        microsoft/phi-1_5: phi-1.5
    """,
    "phi3": """
        microsoft/Phi-3-mini-4k-instruct: phi-3, phi-3-mini
        microsoft/Phi-3-{mini-128k,medium-4k,medium-128k}-instruct
        microsoft/Phi-3.5-mini-instruct: phi-3.5, phi-3.5-mini
        microsoft/phi-4
        microsoft/Phi-4-mini-instruct: phi-4-mini
    """,
    "llama": """
        meta-llama/Llama-2-{7b,13b,70b}-hf: llama-2-{7b,13b,70b}
        meta-llama/Llama-2-{7b,13b,70b}-chat-hf: llama-2-{7b,13b,70b}-chat
        meta-llama/Meta-Llama-3-{8B,70B}: llama-3-{8b,70b}, llama3-{8b,70b}
        meta-llama/Meta-Llama-3-{8B,70B}-Instruct: llama-3-{8b,70b}-instruct, llama3-{8b,70b}-it
        meta-llama/Llama-3.1-{8B,70B}: llama-3.1-{8b,70b}, llama3.1-{8b,70b}
        meta-llama/Llama-3.1-{8B,70B}-Instruct: llama-3.1-{8b,70b}-instruct, llama3.1-{8b,70b}-it
        meta-llama/Llama-3.2-{1B,3B}: llama-3.2-{1b,3b}, llama3.2-{1b,3b}
        meta-llama/Llama-3.2-{1B,3B}-Instruct: llama-3.2-{1b,3b}-instruct, llama3.2-{1b,3b}-it
        meta-llama/Llama-3.3-70B-Instruct: llama-3.3-70b-instruct, llama3.3-70b-it
        deepseek-ai/DeepSeek-R1-Distill-Llama-{8B,70B}
        codellama/CodeLlama-7b{,-Instruct,-Python}-hf: codellama-7b{,-instruct,-python}
        TinyLlama/TinyLlama-1.1B-Chat-v1.0: tinyllama-1.1b-chat, tinyllama
        HuggingFaceTB/SmolLM-{135M,360M,1.7B}{,-Instruct}
        HuggingFaceTB/SmolLM2-{360M,1.7B}{,-Instruct}
        01-ai/Yi-{6B,34B}{,-Chat}
        tiiuae/Falcon3-{1B,3B,7B,10B}-{Base,Instruct}
    """,
    "smollm3": """
        HuggingFaceTB/SmolLM3-3B{,-Base}
    """,
    "mistral": """
        mistralai/Mistral-7B-v0.1: mistral-7b
        mistralai/Mistral-7B-Instruct-v0.1: mistral-7b-instruct
        mistralai/Mistral-7B-Instruct-v0.{2,3}
        mistralai/Mistral-7B-v0.3
        mistralai/Mistral-Nemo-{Base,Instruct}-2407
        mistralai/Mistral-Small-24B-{Base,Instruct}-2501
        mistralai/Ministral-8B-Instruct-2410
    """,
    "mixtral": """
        mistralai/Mixtral-8x7B-v0.1: mixtral-8x7b, mixtral
        mistralai/Mixtral-8x7B-Instruct-v0.1: mixtral-8x7b-instruct, mixtral-instruct
    """,
    "qwen2": """
        Qwen/Qwen1.5-{0.5B,1.8B,4B,7B,14B}{,-Chat}
        Qwen/Qwen2-{0.5B,1.5B,7B,72B}
        Qwen/Qwen2-{0.5B,1.5B,7B,72B}-Instruct: qwen2-{0.5b,1.5b,7b,72b}-instruct, qwen2-{0.5b,1.5b,7b,72b}-it
        Qwen/Qwen2.5-{0.5B,1.5B,3B,7B,14B,32B,72B}
        Qwen/Qwen2.5-{0.5B,1.5B,3B,7B,14B,32B,72B}-Instruct:
            qwen2.5-{0.5b,1.5b,3b,7b,14b,32b,72b}-instruct, qwen2.5-{0.5b,1.5b,3b,7b,14b,32b,72b}-it
        Qwen/QwQ-32B-Preview: qwq-32b-preview, qwen-32b-preview
        deepseek-ai/DeepSeek-R1-Distill-Qwen-{1.5B,7B,14B,32B}
    """,
    "qwen3": """
        Qwen/Qwen3-{0.6B,1.7B,4B,8B,14B}{,-Base}
        Qwen/Qwen3-32B
    """,
    "qwen3_moe": """
        Qwen/Qwen3-30B-A3B{,-Base}
    """,
    "gemma2": """
        google/gemma-2-{2b,9b,27b}{,-it}
    """,
    "gemma3_text": """
        google/gemma-3-270m{,-it}
        google/gemma-3-1b-pt: gemma-3-1b
        google/gemma-3-1b-it
        google/medgemma-27b-text-it
    """,
    "gemma3": """
        google/gemma-3-{4b,12b,27b}-pt: gemma-3-{4b,12b,27b}
        google/gemma-3-{4b,12b,27b}-it
        google/medgemma-{4b-pt,4b-it,27b-it}
    """,
    "olmo2": """
        allenai/OLMo-2-{0425-1B,1124-7B,1124-13B,0325-32B}: olmo-2-{1b,7b,13b,32b}
        allenai/OLMo-2-{0425-1B,1124-7B,1124-13B,0325-32B}-Instruct: olmo-2-{1b,7b,13b,32b}-instruct
    """,
    "olmo3": """
        allenai/Olmo-3-{1025-7B,1125-32B}: olmo-3-{7b,32b}
        allenai/Olmo-3-7B-{Instruct,Think}
        allenai/Olmo-3-32B-Think
        allenai/Olmo-3.1-32B-{Instruct,Think}
    """,
    "olmoe": """
        allenai/OLMoE-1B-7B-0924: olmoe-1b-7b, olmoe
        allenai/OLMoE-1B-7B-0924-Instruct: olmoe-1b-7b-instruct
    """,
    "gpt_oss": """
        openai/gpt-oss-20b: gpt-oss-20b, gpt-oss
        openai/gpt-oss-120b
    """,
    "stablelm": """
        stabilityai/stablelm-{3b-4e1t,zephyr-3b}
        stabilityai/stablelm-2-{1_6b,zephyr-1_6b}: stablelm-2-{1.6b,zephyr-1.6b}
    """,
    "starcoder2": """
        bigcode/starcoder2-{3b,7b,15b}
    """,
    "granite": """
        ibm-granite/granite-3.{0,1,3}-{2b,8b}-{base,instruct}
    """,
    "cohere": """
        CohereLabs/c4ai-command-r-v01: command-r
        CohereLabs/aya-23-8B
        CohereLabs/aya-expanse-8b
    """,
    "cohere2": """
        CohereLabs/c4ai-command-r7b-12-2024: command-r7b
    """,
    "glm4": """
        zai-org/GLM-4-{9B,32B}-0414: glm-4-{9b,32b}
    """,
}


@dataclass(frozen=True)
class HubModelNames:
    """A model on the hub and what people call it.

    Attributes:
        hub_id: `owner/name`.
        family: the `model_type` of its config.
        name: its name here.
        other_names: all other names.
    """

    hub_id: str
    family: str
    name: str
    other_names: tuple[str, ...]


def expanded_braces(text: str) -> list[str]:
    """The texts that a pattern stands for.

    >>> expanded_braces("gpt2{,-medium}")
    ['gpt2', 'gpt2-medium']
    """
    parts = [part.split(",") for part in re.split("[{}]", text)]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _names_of_a_line(family: str, line: str) -> list[HubModelNames]:
    ids, _, names = line.partition(":")
    hub_ids = expanded_braces(ids)
    # A comma within braces parts their choices; one with a space after it parts names.
    columns = [expanded_braces(pattern) for pattern in re.split(r",\s+", names.strip()) if pattern]
    models = []
    for index, hub_id in enumerate(hub_ids):
        last_part = hub_id.rpartition("/")[2].lower()
        known = dict.fromkeys(known.lower() for known in [*(column[index] for column in columns), last_part])
        name = columns[0][index] if columns else last_part
        models.append(HubModelNames(hub_id, family, name, tuple(other for other in known if other != name.lower())))
    return models


HUB_MODELS: list[HubModelNames] = [
    model
    for family, lines in _BY_FAMILY.items()
    # A line that ends with a colon goes on in the next one.
    for line in re.sub(r":\s*\n", ": ", lines).strip().splitlines()
    for model in _names_of_a_line(family, line.strip())
]
"""The models on the hub that have a name here."""
