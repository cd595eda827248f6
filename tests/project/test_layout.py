"""The rules of the house: which room may import which, how large rooms are, and which import paths are promised.

docs/architecture.md says the same in words.
"""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from helpers.paths import PACKAGE, REPOSITORY

# From the top of the house to the ground: a room may import the rooms after it, never those before it.
ROOMS = [
    "command_line",
    "widgets",
    "views",
    "components",
    "explanations",
    "experiments",
    "checking",
    "attribution",
    "collation",
    "activation_server",
    "activations",
    "models",
    "storage",
    "pydantic",
    "vocabulary",
    "errors",
    "notices",
    "wording",
]
NOT_ROOMS = {"data", "__init__", "__main__", "_deprecation", "_lazy_names", "_version"}
DISPLAY_PACKAGES = {"ipywidgets", "plotly", "IPython", "anywidget"}

# The imports that close a circle and are wanted. Each is made within a function, so nothing fails when modules load.
BACK_EDGES_WANTED = [
    # A record, or a store of derived scalars, asks its view when it is itself shown or plotted.
    ("activations.activation_records", "views."),
    ("activations.records", "views."),
    ("activations.token_table", "views."),
    ("activations.derived_scalars.store.derived_scalar_store", "views."),
    ("attribution.attribution", "views.attribution."),  # an answer shows itself as a page
    ("attribution.attribution", "widgets.attribution."),  # and as a page on which one asks on
    ("attribution.attributions", "views.attribution."),
    ("attribution.comparison", "views.attribution."),
    # A component, and what it gives, show themselves. What a component computes is in modules that take it.
    ("components.component", "components."),
    ("components.component", "views.components."),
    ("components.comparing", "views.components."),
    ("components.explanations.of_component", "views.components."),
    ("components.heads.head_table", "views.components."),
    ("components.statistics.of_component", "views.components."),
    # So do the results of experiments.
    ("experiments.attention_patterns.attention_patterns", "views."),
    ("experiments.patching.patching", "views.experiments."),
    ("experiments.pairs.prompt_pairs", "views.experiments."),
    ("experiments.paths.path_patching", "views.experiments."),
    ("experiments.lenses.reading", "views.experiments."),  # what a lens reads shows itself
    ("experiments.steering.answers", "views.experiments."),
    ("explanations.asking.explanation", "views.explanations."),  # explanations and their scores show themselves
    ("explanations.asking.interfaces", "explanations."),  # for type checkers alone
    ("explanations.asking.explanation", "explanations.asking.score"),  # an explanation scores itself
    ("explanations.scoring.score", "views.explanations."),
    ("checking.report", "views.checking."),
    ("models.checkpoints.load_model", "checking.check"),  # load_model(…, check=True)
    ("errors.base", "views.short_traceback"),  # an error that a notebook shows
    # `ModelContext.from_model_type` loads a model: its interface is Transformer Debugger's.
    ("models.abstract_model_context", "models.checkpoints.load_model"),
    ("models.abstract_model_context", "models.model_context"),  # for type checkers alone
]
DERIVERS = "activations.derived_scalars.derivers"
# Names of several modules that mean the same thing in each. All others have one module.
NAMES_WITH_SEVERAL_HOMES = {
    # A subcommand is named for the function that it calls.
    "collate": {"collation.api", "command_line.collate_command"},
    "convert": {"collation.conversion", "command_line.dataset_commands"},
    "explain": {"command_line.explain_command", "explanations.asking.explain"},
    "datasets": {"activation_server.neuron_datasets", "command_line.dataset_commands"},
    "verify": {"collation.verification", "command_line.dataset_commands"},
    # By a dataset's name and by its path, as Transformer Debugger has it.
    "load_explanations": {"activation_server.load_by_name", "activations.explanation_files"},
    "load_neuron": {"activation_server.load_by_name", "activations.activations"},
    # The same derived scalar, of heads and of neurons.
    "act_times_grad": {f"{DERIVERS}.attention", f"{DERIVERS}.mlp"},
    "write_norm": {f"{DERIVERS}.attention", f"{DERIVERS}.mlp"},
    "write_to_direction": {f"{DERIVERS}.attention", f"{DERIVERS}.mlp"},
}
MOST_MODULES_IN_A_FOLDER = 17
MOST_LINES_IN_A_MODULE = 400


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_of_the_package() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def imports_of(path: Path) -> tuple[tuple[str, bool, bool], ...]:
    """What a file imports: each module's full name, whether at its top level, and whether for type checkers alone."""
    tree = ast.parse(path.read_text())
    for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    in_functions = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in submodules if name in known_modules()] or [node.module]
        found += [(name, node not in in_functions, node in for_types) for name in names]
    return tuple(found)


@cache
def known_modules() -> frozenset[str]:
    return frozenset(map(module_name, modules_of_the_package()))


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE.name and len(parts) > 1 and parts[1] in ROOMS else None


def test_every_room_has_its_place_in_the_order():
    found = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    assert found - NOT_ROOMS - {"__pycache__"} <= set(ROOMS)


def test_rooms_import_downward_only():
    wrong = []
    for path in modules_of_the_package():
        room = room_of(module_name(path))
        for module, at_top_level, for_types in imports_of(path):
            target = room_of(module)
            if room is None or target is None or for_types or ROOMS.index(target) >= ROOMS.index(room):
                continue
            if target == "views" and not at_top_level:  # a `_repr_html_` or a `plot` asks its view when it is called
                continue
            if module_name(path).endswith("attribution.attribution") and target == "widgets" and not at_top_level:
                continue  # so does an answer's `view`
            if module.endswith("checking.check") and not at_top_level:
                continue  # load_model(…, check=True)
            wrong.append(f"{module_name(path)} imports {module}")
    assert not wrong


def groups_that_import_each_other() -> Iterator[set[str]]:
    """The circles of the import graph, imports within functions and for type checkers included (Tarjan 1972)."""
    graph = {
        module_name(path): {name for name, _, _ in imports_of(path) if not is_wanted(module_name(path), name)}
        for path in modules_of_the_package()
    }
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[set[str]]:
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in sorted(graph[module] & graph.keys()):
            if target not in order:
                yield from visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], order[target])
        if low[module] == order[module]:
            group = set(stack[stack.index(module) :])
            del stack[stack.index(module) :]
            if len(group) > 1:
                yield group

    for module in sorted(graph):
        if module not in order:
            yield from visit(module)


def is_wanted(module: str, imported: str) -> bool:
    return any(
        module == f"{PACKAGE.name}.{first}" and imported.startswith(f"{PACKAGE.name}.{second}")
        for first, second in BACK_EDGES_WANTED
    )


def test_no_circle_of_imports_but_those_wanted():
    assert [sorted(group) for group in groups_that_import_each_other()] == []


def test_no_module_asks_for_a_lazy_name_while_it_is_imported():
    """It would hold its own import lock and wait for that of lazy names; another thread may do the reverse."""
    lazy = {module_name(stub.with_suffix(".py")) for stub in PACKAGE.rglob("__init__.pyi")}
    assert lazy
    assert not [
        f"{module_name(path)}: {ast.unparse(node)}"
        for path in modules_of_the_package()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module in lazy
    ]


IN_MANY_THREADS = """
import random, sys, threading
import neuron_explainer as ne
sys.setswitchinterval(1e-6)
ready, wrong = threading.Barrier(8), []
def ask(seed):
    names = sorted(ne.__all__)
    random.Random(seed).shuffle(names)
    ready.wait()
    try:
        for name in names:
            getattr(ne, name)
    except BaseException as error:
        wrong.append(repr(error))
threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong
"""


def test_names_are_imported_by_any_number_of_threads_at_once():
    finished = subprocess.run(
        [sys.executable, "-c", IN_MANY_THREADS], capture_output=True, text=True, cwd=REPOSITORY.parent
    )
    assert finished.returncode == 0, finished.stderr


LOCK_IS_HELD = """
import sys, threading, time
import neuron_explainer as ne
from neuron_explainer import _lazy_names
held = threading.Event()
def hold():
    with _lazy_names._IMPORTING.lock:
        held.set()
        time.sleep(0.5)
        done.append(True)
done = []
threading.Thread(target=hold).start()
held.wait()
ne.DerivedScalarType
assert done, "the name was imported while another thread imported"
"""


def test_a_thread_waits_while_another_imports():
    finished = subprocess.run(
        [sys.executable, "-c", LOCK_IS_HELD], capture_output=True, text=True, cwd=REPOSITORY.parent
    )
    assert finished.returncode == 0, finished.stderr


def test_display_packages_stay_in_views_and_widgets():
    assert not [
        f"{module_name(path)} imports {module}"
        for path in modules_of_the_package()
        if room_of(module_name(path)) not in ("views", "widgets")
        for module, _, _ in imports_of(path)
        if module.split(".")[0] in DISPLAY_PACKAGES
    ]


def test_folders_hold_one_subject_and_modules_stay_readable():
    folders = {path.parent for path in modules_of_the_package()}
    counts = {str(folder.relative_to(PACKAGE)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES_IN_A_FOLDER} == {}
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in modules_of_the_package()}
    assert {module: length for module, length in lengths.items() if length > MOST_LINES_IN_A_MODULE} == {}


def test_a_name_means_one_thing() -> None:
    homes: dict[str, set[str]] = {}
    for path in modules_of_the_package():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                homes.setdefault(node.name, set()).add(module_name(path).removeprefix("neuron_explainer."))
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == NAMES_WITH_SEVERAL_HOMES


def test_every_module_and_package_says_what_it_is():
    assert not [
        module_name(path) for path in modules_of_the_package() if not ast.get_docstring(ast.parse(path.read_text()))
    ]


@pytest.mark.parametrize(
    "stub", sorted(PACKAGE.rglob("__init__.pyi")), ids=lambda stub: module_name(stub.with_suffix(".py"))
)
def test_a_package_offers_exactly_what_its_stub_lists(stub: Path):
    package = importlib.import_module(module_name(stub.with_suffix(".py")))
    listed = next(
        ast.literal_eval(node.value)
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert set(listed) == set(package.__all__)
    assert all(getattr(package, name) is not None for name in listed)


@pytest.mark.parametrize(
    "code",
    [
        "import neuron_explainer as ne; ne.datasets()",
        "import neuron_explainer as ne; record = ne.load_neuron('tiny', 2, 5); record._repr_html_()",
        "import neuron_explainer as ne; viewer = ne.NeuronViewer('tiny', 2, 5); assert viewer.record is not None",
        "import neuron_explainer as ne; ne.NodeIndex('mlp_neuron', 0, (0, 1)); ne.DerivedScalarType.MLP_WRITE",
        "import neuron_explainer as ne; ne.parse_node('L0H1@7<-2').to_ablation(); ne.load_neuron('tiny', 'L0H1')",
        "from neuron_explainer.models.model_component_registry import NodeType",
        "from neuron_explainer.activations.derived_scalars import DerivedScalarType",
    ],
)
def test_looking_imports_no_torch(code: str):
    check = f"{code}\nimport sys\nassert 'torch' not in sys.modules, 'torch was imported'"
    finished = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=REPOSITORY.parent)
    assert finished.returncode == 0, finished.stderr


PROMISED = {
    "activation_server.load_neurons": (
        "NodeIdAndDatasets resolve_neuron_dataset convert_dataset_path_to_short_name load_neuron_from_datasets"
    ),
    "activation_server.neuron_datasets": (
        "NEURON_DATASET_METADATA_REGISTRY get_neuron_dataset_metadata_by_short_name_and_dst"
    ),
    "activations.activations": "NeuronRecord load_neuron_async",
    "activations.derived_scalars": "DerivedScalarType",
    "activations.derived_scalars.config": "DstConfig",
    "activations.derived_scalars.derived_scalar_types": "DerivedScalarType",
    "activations.derived_scalars.indexing": "ActivationIndex NodeIndex TraceConfig",
    "models.autoencoder_context": "AutoencoderConfig AutoencoderContext MultiAutoencoderContext",
    "models.inference_engine_type_registry": "InferenceEngineType",
    "models.model_component_registry": "NodeType PassType ActivationLocationType Dimension",
    "models.model_context": "ModelContext StandardModelContext get_default_device",
    "models.transformer": "Transformer",
    "pydantic": "CamelCaseBaseModel immutable",
}


@pytest.mark.parametrize(("module", "names"), PROMISED.items(), ids=PROMISED)
def test_paths_of_transformer_debugger_work(module: str, names: str):
    found = importlib.import_module(f"{PACKAGE.name}.{module}")
    assert [name for name in names.split() if not hasattr(found, name)] == []
