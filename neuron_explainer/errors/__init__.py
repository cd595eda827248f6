"""All errors that this library raises.

Each is a `NeuronExplainerError` and also the built-in exception that a caller would expect (a `KeyError` for an unknown
name, a `ValueError` for a bad value), so code that does not know this module can still catch it. A message says what
was given, what is wrong, and what to choose or do. IPython and notebooks show it with the user's own lines alone;
`ne.errors.show_library_frames()` shows the library's frames, too. `CollateStopped` alone is none of these: it is a
`KeyboardInterrupt` that says where the work is saved.

>>> import neuron_explainer as ne
>>> try:
...     ne.load_neuron("tinny", 2, 5)
... except ne.errors.UnknownDatasetError as error:
...     print(error.choices[0])
tiny
"""

from neuron_explainer.errors.base import IndexOutOfRangeError as IndexOutOfRangeError
from neuron_explainer.errors.base import InvalidIndexError as InvalidIndexError
from neuron_explainer.errors.base import InvalidRequestError as InvalidRequestError
from neuron_explainer.errors.base import MisconfiguredError as MisconfiguredError
from neuron_explainer.errors.base import MissingPackageError as MissingPackageError
from neuron_explainer.errors.base import NeuronExplainerError as NeuronExplainerError
from neuron_explainer.errors.base import UnknownArgumentError as UnknownArgumentError
from neuron_explainer.errors.base import UnknownMemberError as UnknownMemberError
from neuron_explainer.errors.base import UnknownNameError as UnknownNameError
from neuron_explainer.errors.checking import ModelCheckError as ModelCheckError
from neuron_explainer.errors.collating import BadDocumentError as BadDocumentError
from neuron_explainer.errors.collating import CollateError as CollateError
from neuron_explainer.errors.collating import CollateStopped as CollateStopped
from neuron_explainer.errors.collating import CorpusChangedError as CorpusChangedError
from neuron_explainer.errors.collating import DatasetExistsError as DatasetExistsError
from neuron_explainer.errors.collating import ExplainingStoppedError as ExplainingStoppedError
from neuron_explainer.errors.collating import NonFiniteActivationError as NonFiniteActivationError
from neuron_explainer.errors.collating import OutOfSpaceError as OutOfSpaceError
from neuron_explainer.errors.collating import WorkerLostError as WorkerLostError
from neuron_explainer.errors.computing import AutoencoderFormatError as AutoencoderFormatError
from neuron_explainer.errors.computing import AutoencoderMismatchError as AutoencoderMismatchError
from neuron_explainer.errors.computing import InterventionNeverFiredError as InterventionNeverFiredError
from neuron_explainer.errors.computing import InterventionResultError as InterventionResultError
from neuron_explainer.errors.computing import MalformedStoreError as MalformedStoreError
from neuron_explainer.errors.computing import MissingSettingError as MissingSettingError
from neuron_explainer.errors.computing import NodeNameError as NodeNameError
from neuron_explainer.errors.computing import NotAtHandError as NotAtHandError
from neuron_explainer.errors.computing import NotDerivedError as NotDerivedError
from neuron_explainer.errors.computing import NothingToDifferentiateError as NothingToDifferentiateError
from neuron_explainer.errors.computing import NotRecordedError as NotRecordedError
from neuron_explainer.errors.computing import PromptError as PromptError
from neuron_explainer.errors.computing import StoppedError as StoppedError
from neuron_explainer.errors.computing import UnmetNeedError as UnmetNeedError
from neuron_explainer.errors.explaining import AnswerFormatError as AnswerFormatError
from neuron_explainer.errors.explaining import BudgetExceededError as BudgetExceededError
from neuron_explainer.errors.explaining import EndpointError as EndpointError
from neuron_explainer.errors.frames import show_library_frames as show_library_frames
from neuron_explainer.errors.loading import ChatTemplateError as ChatTemplateError
from neuron_explainer.errors.loading import CheckpointError as CheckpointError
from neuron_explainer.errors.loading import CheckpointNotFoundError as CheckpointNotFoundError
from neuron_explainer.errors.loading import DownloadError as DownloadError
from neuron_explainer.errors.loading import MalformedCheckpointError as MalformedCheckpointError
from neuron_explainer.errors.loading import MalformedDatasetError as MalformedDatasetError
from neuron_explainer.errors.loading import MalformedRecordError as MalformedRecordError
from neuron_explainer.errors.loading import MissingFileError as MissingFileError
from neuron_explainer.errors.loading import MissingTensorError as MissingTensorError
from neuron_explainer.errors.loading import NeuronNotFoundError as NeuronNotFoundError
from neuron_explainer.errors.loading import NonFiniteTensorError as NonFiniteTensorError
from neuron_explainer.errors.loading import NotEnoughMemoryError as NotEnoughMemoryError
from neuron_explainer.errors.loading import NotOneTokenError as NotOneTokenError
from neuron_explainer.errors.loading import TensorShapeError as TensorShapeError
from neuron_explainer.errors.loading import TokenizerError as TokenizerError
from neuron_explainer.errors.loading import TokenizerMismatchError as TokenizerMismatchError
from neuron_explainer.errors.loading import TooLargeError as TooLargeError
from neuron_explainer.errors.loading import UnexpectedTensorError as UnexpectedTensorError
from neuron_explainer.errors.loading import UnknownDatasetError as UnknownDatasetError
from neuron_explainer.errors.loading import UnreadableFileError as UnreadableFileError
from neuron_explainer.errors.loading import UnsupportedCheckpointError as UnsupportedCheckpointError
from neuron_explainer.errors.loading import UnsupportedLocationError as UnsupportedLocationError
from neuron_explainer.wording import choices_sentence as choices_sentence
from neuron_explainer.wording import nearest_first as nearest_first
from neuron_explainer.wording import no_layer as no_layer
from neuron_explainer.wording import number_ranges as number_ranges
from neuron_explainer.wording import shown as shown
