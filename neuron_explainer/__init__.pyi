# The public names, in families. Type checkers read them here, and `lazy_loader` imports each one on first use.

from . import errors, notices
from ._version import __version__

# Neuron datasets and their records
from .activation_server.load_by_name import load_explanations, load_neuron, load_neurons
from .activation_server.neuron_datasets import datasets, register_dataset, register_neuron_dataset_metadata
from .activations.activations import ActivationRecord, NeuronId, NeuronRecord, save_neuron

# Derived scalars: from a prompt to numbers
from .activations.derived_scalars.config import DstConfig
from .activations.derived_scalars.derivation import derive, derive_batch
from .activations.derived_scalars.indexing import (
    AblationSpec,
    ActivationIndex,
    AttentionTraceType,
    AttnSubNodeIndex,
    DerivedScalarIndex,
    NodeIndex,
    PreOrPostAct,
    TraceConfig,
)
from .activations.derived_scalars.loss import LossFnConfig, LossFnName
from .activations.derived_scalars.names.node_name import NodeName, parse_node
from .activations.derived_scalars.store.derived_scalar_store import DerivedScalarStore
from .activations.derived_scalars.tensor_ablations import TensorAblation

# Why a prediction
from .attribution.attribute import attribute
from .attribution.attribution import Attribution
from .attribution.files.reading import load_attribution
from .attribution.question.preview import QuestionPreview, preview_question

# Checking a model
from .checking.check import check
from .checking.parity import check_parity
from .checking.report import CheckReport

# Making and checking neuron datasets
from .collation.api import collate
from .collation.conversion import convert
from .collation.live import live_record
from .collation.settings import CollateSettings
from .collation.verification import verify

# One neuron, head or latent
from .components.asking import component
from .components.comparing import ComponentComparison, compare_components
from .components.component import Component
from .components.explanations.of_dataset import explain_dataset
from .components.explanations.sharing import export_explanations, import_explanations, own_explanations
from .components.heads.scores import head_scores
from .components.notes.bookmarks import bookmarks, export_bookmarks, import_bookmarks
from .components.search.asking import search
from .components.statistics.of_dataset import dataset_statistics

# Experiments on a model
from .experiments.attention_patterns.attention import attention
from .experiments.attention_patterns.attention_patterns import AttentionPatterns
from .experiments.lenses.jacobian.fitting import fit_jacobian_lens
from .experiments.lenses.jacobian.jacobian_lens import JacobianLens, load_jacobian_lens
from .experiments.lenses.jacobian.merging import merge_jacobian_lenses
from .experiments.lenses.lens import lens, lens_of_vector
from .experiments.lenses.reading import LensReading
from .experiments.pairs.making import prompt_pairs
from .experiments.pairs.pair import PromptPair
from .experiments.pairs.prompt_pairs import PromptPairs
from .experiments.patching.patch import patch
from .experiments.patching.patching import Patching
from .experiments.paths.path_patch import path_patch
from .experiments.paths.path_patching import PathPatching
from .experiments.steering.direction import SteeringDirection
from .experiments.steering.sources import steering_direction
from .experiments.steering.steering import Steering, steer

# Explanations of components
from .explanations.asking.explain import explain
from .explanations.asking.score import score

# Models and autoencoders
from .models.autoencoder_context import AutoencoderConfig, AutoencoderContext, MultiAutoencoderContext
from .models.autoencoders.load_autoencoder import load_autoencoder
from .models.autoencoders.load_autoencoders import load_autoencoders
from .models.checkpoints.load_model import load_model
from .models.generation.sampling import Sampling
from .models.known_models import known_models
from .models.model_context import ModelContext, StandardModelContext
from .models.model_registry import RegisteredModel, register_model
from .storage.disk_cache import clear_cache

# Views: static HTML and figures
from .views.colour import ColourScale
from .views.components.dataset_scatter import plot_dataset_statistics
from .views.components.head_maps import plot_heads
from .views.heatmap import token_heatmap
from .views.plots import plot_example, plot_histogram
from .views.record_page import record_document, record_to_html
from .views.site.export import export_site
from .views.token_pairs import pair_view

# The vocabulary; `derived_scalars` shows all derived scalars as a table
from .vocabulary.derived_scalar_table import derived_scalars
from .vocabulary.derived_scalar_types import DerivedScalarType
from .vocabulary.dimensions import Dimension
from .vocabulary.nodes import AttnSubNode, LocationWithinLayer, NodeType, PassType
from .vocabulary.places import ActivationLocationType
from .vocabulary.weights import WeightLocationType

# Widgets
from .widgets.attribution.attribution_viewer import AttributionViewer
from .widgets.neuron_viewer import NeuronViewer
from .widgets.picking.dataset_picker import DatasetPicker
from .widgets.picking.node_picker import NodePicker

__all__ = [
    "AblationSpec",
    "ActivationIndex",
    "ActivationLocationType",
    "ActivationRecord",
    "AttentionPatterns",
    "AttentionTraceType",
    "AttnSubNode",
    "AttnSubNodeIndex",
    "Attribution",
    "AttributionViewer",
    "AutoencoderConfig",
    "AutoencoderContext",
    "CheckReport",
    "CollateSettings",
    "ColourScale",
    "Component",
    "ComponentComparison",
    "DatasetPicker",
    "DerivedScalarIndex",
    "DerivedScalarStore",
    "DerivedScalarType",
    "Dimension",
    "DstConfig",
    "JacobianLens",
    "LensReading",
    "LocationWithinLayer",
    "LossFnConfig",
    "LossFnName",
    "ModelContext",
    "MultiAutoencoderContext",
    "NeuronId",
    "NeuronRecord",
    "NeuronViewer",
    "NodeIndex",
    "NodeName",
    "NodePicker",
    "NodeType",
    "PassType",
    "Patching",
    "PathPatching",
    "PreOrPostAct",
    "PromptPair",
    "PromptPairs",
    "QuestionPreview",
    "RegisteredModel",
    "Sampling",
    "StandardModelContext",
    "Steering",
    "SteeringDirection",
    "TensorAblation",
    "TraceConfig",
    "WeightLocationType",
    "__version__",
    "attention",
    "attribute",
    "bookmarks",
    "check",
    "check_parity",
    "clear_cache",
    "collate",
    "compare_components",
    "component",
    "convert",
    "dataset_statistics",
    "datasets",
    "derive",
    "derive_batch",
    "derived_scalars",
    "errors",
    "explain",
    "explain_dataset",
    "export_bookmarks",
    "export_explanations",
    "export_site",
    "fit_jacobian_lens",
    "head_scores",
    "import_bookmarks",
    "import_explanations",
    "known_models",
    "lens",
    "lens_of_vector",
    "live_record",
    "load_attribution",
    "load_autoencoder",
    "load_autoencoders",
    "load_explanations",
    "load_jacobian_lens",
    "load_model",
    "load_neuron",
    "load_neurons",
    "merge_jacobian_lenses",
    "notices",
    "own_explanations",
    "pair_view",
    "parse_node",
    "patch",
    "path_patch",
    "plot_dataset_statistics",
    "plot_example",
    "plot_heads",
    "plot_histogram",
    "preview_question",
    "prompt_pairs",
    "record_document",
    "record_to_html",
    "register_dataset",
    "register_model",
    "register_neuron_dataset_metadata",
    "save_neuron",
    "score",
    "search",
    "steer",
    "steering_direction",
    "token_heatmap",
    "verify",
]
