"""`neuron-explainer explain`."""

from typing import Annotated, Any

import typer

from neuron_explainer.command_line.dataset_options import DatasetArgument, DstOption, LayersOption, NodesOption
from neuron_explainer.command_line.folders import named_dataset
from neuron_explainer.command_line.settings_options import with_default
from neuron_explainer.errors import choices_sentence, nearest_first

_EXPLAINERS = {"pattern": "PatternExplainer", "token": "TokenExplainer", "endpoint": "LanguageModelExplainer"}
_SCORERS = {
    "pattern": "PatternScorer",
    "embedding": "EmbeddingScorer",
    "surprisal": "SurprisalScorer",
    "detection": "DetectionScorer",
    "fuzzing": "FuzzingScorer",
    "simulation": "SimulationScorer",
}
_CLIENT = "OpenAICompatibleClient"
_OF_ENDPOINT = ("endpoint", "detection", "fuzzing", "simulation")


def explain(
    dataset: DatasetArgument,
    *,
    out: Annotated[str, typer.Option(metavar="FOLDER", help="The folder to write, new or with these explanations.")],
    node: NodesOption = None,
    layer: LayersOption = None,
    dst: DstOption = None,
    explainer: Annotated[
        str, typer.Option(metavar="KIND", help=f"What writes explanations: {', '.join(_EXPLAINERS)}.")
    ] = "pattern",
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            metavar="KIND",
            help=with_default(f"What scores them: {', '.join(_SCORERS)}; may be given several times.", "none"),
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", metavar="N", help="How many explanations of each component.")] = 1,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The endpoint's address, such as http://localhost:8000/v1."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The endpoint's model.")] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="The environment variable with the endpoint's key, if it needs one."),
    ] = None,
    local_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The model that surprisal asks: a name, a folder, a GGUF file or a hub id."),
    ] = None,
    dataset_model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="The dataset's own model, for the output tokens of its components; tiny has its own."
        ),
    ] = None,
    concurrent: Annotated[int, typer.Option(metavar="N", help="How many components are worked on at once.")] = 4,
) -> None:
    """Explain components of a dataset, and score the explanations.

    Prints the table's path. A call that was stopped goes on when it is made again. Every scorer also scores an
    explanation that says little, as a baseline; those that ask an endpoint ask as often again.
    """
    kinds = [_checked(each, _SCORERS, "--scorer") for each in scorer or ()]
    writer = _checked(explainer, _EXPLAINERS, "--explainer")
    of_endpoint = [each for each in (writer, *kinds) if each in _OF_ENDPOINT]
    if of_endpoint and (base_url is None or model is None):
        raise typer.BadParameter(f"{of_endpoint[0]!r} asks a language model: give --base-url and --model.")
    if "surprisal" in kinds and local_model is None:
        raise typer.BadParameter("'surprisal' needs a model of its own: give --local-model.")
    if not of_endpoint and (base_url or model or api_key_env):
        raise typer.BadParameter(
            f"nothing here asks a language model: {writer!r} and the scorers do without. Leave out --base-url, --model "
            "and --api-key-env, or choose one of: " + ", ".join(_OF_ENDPOINT) + "."
        )
    if local_model is not None and "surprisal" not in kinds:
        raise typer.BadParameter(
            "--local-model is for --scorer surprisal. The model for output tokens is --dataset-model."
        )
    import neuron_explainer.explanations as explanations
    from neuron_explainer.components.explanations.of_dataset import explain_dataset

    loaded = None
    if local_model is not None:
        from neuron_explainer.models.checkpoints.load_model import load_model

        loaded = load_model(local_model)
    client = None
    if of_endpoint:
        client = getattr(explanations, _CLIENT)(base_url, model, api_key_env=api_key_env)
    made = explain_dataset(
        named_dataset(dataset),
        node or None,
        _made(explanations, _EXPLAINERS, writer, client, loaded),
        [_made(explanations, _SCORERS, each, client, loaded) for each in kinds],
        out,
        layers=layer or None,
        n=n,
        dst=dst,
        model=dataset_model,
        max_concurrent=concurrent,
    )
    if made.failed:
        typer.echo(f"{len(made.failed):,} of {len(made):,} components failed; the table says why.", err=True)
    typer.echo(made.table)


def _checked(value: str, choices: dict[str, str], option: str) -> str:
    """A kind, if it is known.

    Raises:
        BadParameter: it is not.
    """
    if value not in choices:
        known = choices_sentence(nearest_first(value, choices))
        raise typer.BadParameter(f"{value!r} is unknown. {known}", param_hint=option)
    return value


def _made(explanations: Any, choices: dict[str, str], kind: str, client: Any, model: Any) -> Any:
    """An explainer or a scorer of a kind, with the language model or the model that it needs."""
    made = getattr(explanations, choices[kind])
    if kind in _OF_ENDPOINT:
        return made(client)
    return made(model) if kind == "surprisal" else made()
