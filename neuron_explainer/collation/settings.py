"""The settings of a collated dataset: the only place with the default, range and meaning of each setting.

`collate` takes settings as an object or by keyword, the command line takes them as options. Both read this module for
their documentation.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, SupportsIndex, TypedDict, Unpack, get_args

from neuron_explainer.errors import InvalidRequestError, UnknownNameError
from neuron_explainer.vocabulary.checks import LayersGiven, checked_flag, checked_layers, checked_number, checked_type
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType
from neuron_explainer.vocabulary.named_arguments import named_arguments
from neuron_explainer.vocabulary.parsing import derived_scalar_type_of

Layout = Literal["packed", "json"]
ActivationDtype = Literal["auto", "float16", "float32"]
ConvertedDtype = Literal["float16", "float32"]
Engine = Literal["local", "ray"]

DEFAULT_LAYOUT: Layout = "packed"
DEFAULT_ACTIVATION_DTYPE: ActivationDtype = "auto"
DEFAULT_ENGINE: Engine = "local"
DEFAULT_SAVE_EVERY_SECONDS = 300.0
DEFAULT_EXAMPLE_TOKENS = 64
DEFAULT_VERIFIED_RECORDS = 20
DEFAULT_CONVERTED_DTYPE: ConvertedDtype = "float32"

_LARGEST_SEED = 2**32 - 1
_MOST_KEPT = 100_000  # of what memory is taken for, for each component


def _setting(
    default: object,
    meaning: str,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    none_means: str = "",
) -> Any:
    """A field with its meaning, its smallest and largest value if it is a whole number, and what None stands for."""
    metadata = {"meaning": meaning, "at_least": at_least, "at_most": at_most, "none_means": none_means}
    return field(default=default, metadata=metadata)


class SettingsChanges(TypedDict, total=False):
    """The settings that `collate` takes by keyword: CollateSettings' fields, except `dst` and `layers`.

    Whole numbers may be Python's, NumPy's or torch's.
    """

    context_length: SupportsIndex
    stride: SupportsIndex | None
    prepend_bos: bool | None
    top_k: SupportsIndex
    random_k: SupportsIndex
    quantiles: SupportsIndex
    examples_per_quantile: SupportsIndex
    example_tokens: SupportsIndex | None
    random_example_tokens: SupportsIndex | None
    histogram_bins: SupportsIndex
    seed: SupportsIndex
    batch_tokens: SupportsIndex
    max_tokens: SupportsIndex | None
    text_field: str


class AllSettings(SettingsChanges, total=False):
    """CollateSettings' fields, as its constructor takes them."""

    dst: DerivedScalarType | str
    layers: LayersGiven


@named_arguments()
@dataclass(frozen=True, init=False)
class CollateSettings:
    """Everything that a dataset depends on besides the model and the texts.

    Raises:
        UnknownNameError: `dst` is not a derived scalar type.
        InvalidRequestError: a value is out of range or contradicts another.

    >>> CollateSettings(dst="MLP_PRE_ACT", layers=[0, 2], top_k=5).layers
    (0, 2)
    """

    dst: DerivedScalarType = _setting(  # noqa: RUF009  (`_setting` makes a dataclass field)
        DerivedScalarType.MLP_POST_ACT,
        "The derived scalar to collate: a member, name or value. Each component must have one number for each token or "
        "token pair.",
    )
    layers: tuple[int, ...] | None = _setting(None, "The layers to collate.", none_means="all")
    context_length: int = _setting(
        128, "Tokens in a sequence, at most. No sequence has tokens of two texts.", at_least=1
    )
    stride: int | None = _setting(
        None,
        "Tokens from the start of one sequence of a text to the start of the next.",
        at_least=1,
        none_means="sequences do not overlap",
    )
    prepend_bos: bool | None = _setting(
        None,
        "Begin every sequence with the model's beginning-of-sequence token. It is shown but not counted.",
        none_means="as the model's tokenizer does, and so do derive and generate",
    )
    top_k: int = _setting(
        20, "Top examples of each component: the sequences with the highest peaks.", at_least=1, at_most=_MOST_KEPT
    )
    random_k: int = _setting(10, "Random examples of each component.", at_least=0, at_most=_MOST_KEPT)
    quantiles: int = _setting(
        4,
        "Groups, ordered by peak, into which more random examples are divided. 0: no groups.",
        at_least=0,
        at_most=_MOST_KEPT,
    )
    examples_per_quantile: int = _setting(5, "Examples in each group.", at_least=1, at_most=_MOST_KEPT)
    example_tokens: int | None = _setting(
        None,
        "Tokens that a top example shows around its peak.",
        at_least=1,
        none_means=f"{DEFAULT_EXAMPLE_TOKENS}, or the whole sequence if there is one number for each token pair",
    )
    random_example_tokens: int | None = _setting(
        None,
        "Tokens that a random example, or an example of a group, shows around its peak.",
        at_least=1,
        none_means="as many as a top example",
    )
    histogram_bins: int = _setting(50, "Bins of each histogram.", at_least=4, at_most=_MOST_KEPT)
    seed: int = _setting(0, "Seed of the random examples.", at_least=0)
    batch_tokens: int = _setting(4096, "Tokens that run through the model at a time, padding included.", at_least=1)
    max_tokens: int | None = _setting(None, "Tokens of the texts to use.", at_least=1, none_means="all")
    text_field: str = _setting("text", "The field that holds the text, if the texts are records.")

    def __init__(self, **given: Unpack[AllSettings]) -> None:
        # The constructor takes more types than the fields have: names of members, NumPy's and torch's whole numbers.
        for each in fields(self):
            object.__setattr__(self, each.name, given.get(each.name, each.default))
        object.__setattr__(self, "dst", derived_scalar_type_of(self.dst))
        if self.layers is not None:
            object.__setattr__(self, "layers", checked_layers("layers", self.layers))
        for each in fields(self):
            if each.metadata["at_least"] is not None:
                object.__setattr__(self, each.name, self._checked_number(each.name))
        self._check_together()

    def _checked_number(self, name: str) -> int | None:
        value, about = getattr(self, name), self.__dataclass_fields__[name]
        if value is None and about.default is None:
            return None
        return checked_number(name, value, about.metadata["at_least"], at_most=about.metadata["at_most"])

    def _check_together(self) -> None:
        if self.prepend_bos is not None:
            object.__setattr__(self, "prepend_bos", checked_flag("prepend_bos", self.prepend_bos))
        checked_type("text_field", self.text_field, str)
        if self.new_tokens < 1:
            raise InvalidRequestError(
                "context_length is 1. With a beginning token (prepend_bos) a sequence needs 2 tokens or more."
            )
        if self.seed > _LARGEST_SEED:
            raise InvalidRequestError(f"seed is {self.seed}. Give a whole number below 2^32.")
        if self.sample_size > _MOST_KEPT:
            raise InvalidRequestError(
                f"random_k and the groups make {self.sample_size:,} random examples of each component. Choose "
                f"{_MOST_KEPT:,} or less."
            )
        if self.quantiles == 1:
            raise InvalidRequestError("quantiles is 1. Use 0 for no groups, or 2 or more.")
        if self.stride is not None and self.stride > self.new_tokens:
            raise InvalidRequestError(
                f"stride is {self.stride}, but a sequence has only {self.new_tokens} tokens of its text, so the tokens "
                f"between two sequences would be skipped. Choose a stride of at most {self.new_tokens}."
            )

    @property
    def new_tokens(self) -> int:
        """How many tokens of its text a sequence has at most."""
        return self.context_length - bool(self.prepend_bos)

    @property
    def sample_size(self) -> int:
        """How many random sequences are kept for each component, those of the groups included."""
        return self.random_k + self.quantiles * self.examples_per_quantile

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON types."""
        return asdict(self) | {"dst": self.dst.value, "layers": None if self.layers is None else list(self.layers)}


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise an UnknownNameError if an argument's value is not one of a Literal's."""
    if value not in get_args(choices):
        raise UnknownNameError(name, value, get_args(choices))


def meaning_of(name: str) -> str:
    """What a setting means, without its default."""
    meaning: str = CollateSettings.__dataclass_fields__[name].metadata["meaning"]
    return meaning


def default_of(name: str) -> str:
    """A setting's default in words, such as "128" or "all"."""
    each = CollateSettings.__dataclass_fields__[name]
    none_means: str = each.metadata["none_means"]
    return none_means or str(each.default)


def described_settings(names: Iterable[str]) -> str:
    """One entry for each setting, as a docstring's Args section has them."""
    entries = []
    for name in names:
        is_none = CollateSettings.__dataclass_fields__[name].default is None
        default = f"None: {default_of(name)}" if is_none else f"Default: {default_of(name)}"
        meaning = meaning_of(name)
        entry = f"{name}: {meaning[0].lower()}{meaning[1:]} {default}."
        entries.append(textwrap.fill(entry, 116, initial_indent=" " * 8, subsequent_indent=" " * 12))
    return "\n".join(entries)


_ATTRIBUTES = described_settings(each.name for each in fields(CollateSettings))
CollateSettings.__doc__ = (CollateSettings.__doc__ or "").replace(
    "Raises:", f"Attributes:\n{_ATTRIBUTES}\n\n    Raises:"
)
