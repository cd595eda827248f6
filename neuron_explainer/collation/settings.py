"""What a run is told, checked once where it enters."""

from dataclasses import asdict, dataclass
from typing import Any

from neuron_explainer.collation.statistics.rank_keys import MAX_SEQUENCE_INDEX
from neuron_explainer.errors import InvalidRequestError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType

DEFAULT_EXAMPLE_TOKENS = 64


@dataclass(frozen=True)
class CollateSettings:
    """Everything that the resulting dataset depends on beside the model and the texts.

    Attributes:
        dst: the derived scalar that is collated; see `scalar_source` for which can be.
        layers: the layers covered; None: all.
        context_length: how many tokens a sequence has at most.
        stride: how far apart the starts of a text's sequences are; None: `context_length`, so that none overlap.
        prepend_bos: whether every sequence begins with the tokenizer's beginning-of-sequence token. That token counts
            nowhere (not as a peak, not in any statistic) and is only shown.
        top_k: how many sequences with the highest peaks are kept for every component.
        random_k: how many random sequences are kept for every component.
        quantiles: into how many groups of equal size, by peak, a further random sample is divided; 0: no such sample.
        examples_per_quantile: how many examples each group has.
        example_tokens: how many tokens around its peak an example shows; None: 64 for scalars by token, the whole
            sequence for those by token pair (which show nothing less).
        random_example_tokens: the same for random examples and those of the groups; None: as many.
        histogram_bins: how many cells the histograms have.
        seed: of the random samples.
        batch_tokens: how many tokens, padding included, are run through the model at a time.
        max_tokens: how many tokens of the texts are used; None: all.
        text_field: the field that holds the text, where texts are records.
    """

    dst: DerivedScalarType = DerivedScalarType.MLP_POST_ACT
    layers: tuple[int, ...] | None = None
    context_length: int = 128
    stride: int | None = None
    prepend_bos: bool = False
    top_k: int = 20
    random_k: int = 10
    quantiles: int = 4
    examples_per_quantile: int = 5
    example_tokens: int | None = None
    random_example_tokens: int | None = None
    histogram_bins: int = 50
    seed: int = 0
    batch_tokens: int = 4096
    max_tokens: int | None = None
    text_field: str = "text"

    def __post_init__(self) -> None:
        least = {
            "context_length": 2 if self.prepend_bos else 1,
            "stride": 1,
            "top_k": 1,
            "random_k": 0,
            "quantiles": 0,
            "examples_per_quantile": 1,
            "example_tokens": 1,
            "random_example_tokens": 1,
            "histogram_bins": 4,
            "seed": 0,
            "batch_tokens": 1,
            "max_tokens": 1,
        }
        for name, lower in least.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < lower):
                raise InvalidRequestError(f"{name} is {value!r}; it must be a whole number, {lower} or more.")
        if self.seed > MAX_SEQUENCE_INDEX:
            raise InvalidRequestError(f"seed is {self.seed}; it must be below 2^32.")
        if self.quantiles == 1:
            raise InvalidRequestError("quantiles is 1: one group is no division. Use 0 for none, or 2 or more.")
        if self.stride is not None and self.stride > self.new_tokens:
            raise InvalidRequestError(
                f"stride is {self.stride}, but a sequence holds only {self.new_tokens} tokens of its text: "
                "those between two sequences would be passed over."
            )
        if self.layers is not None and (not self.layers or len(set(self.layers)) != len(self.layers)):
            raise InvalidRequestError(f"layers is {self.layers}; it must name at least one layer, and each one once.")

    @property
    def new_tokens(self) -> int:
        """How many tokens of its text a sequence holds at most."""
        return self.context_length - self.prepend_bos

    @property
    def sample_size(self) -> int:
        """How many random sequences are kept for every component, those for the quantile groups included."""
        return self.random_k + self.quantiles * self.examples_per_quantile

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        fields = asdict(self)
        fields["dst"] = self.dst.value
        fields["layers"] = None if self.layers is None else list(self.layers)
        return fields
