"""Tables of nodes by several columns and by names, against all nodes sorted; tokens by layer."""

import functools
from typing import Any

import pandas
import pytest

from helpers.derived_scalars import DISTRACTOR, PROMPT, TARGET, autoencoders, context
from neuron_explainer.attribution import Attribution, attribute
from neuron_explainer.attribution.tables.columns import COLUMNS
from neuron_explainer.errors import InvalidRequestError, NodeNameError, UnknownNameError
from neuron_explainer.vocabulary.derived_scalar_types import DerivedScalarType as D

ALL = 100_000
FAMILIES = ("gpt2", "gemma2", "mixtral")


def asked(family: str = "gpt2", **options: Any) -> Attribution:
    return attribute(context(family), PROMPT, TARGET, DISTRACTOR, **options)


@functools.cache
def every_node(family: str) -> pandas.DataFrame:
    """All nodes that have an effect or a write."""
    each = [pandas.DataFrame(asked(family).nodes(ALL, column)) for column in ("write_norm", "total_effect")]
    return pandas.concat(each).drop_duplicates("name").set_index("name", drop=False)


def brute_force(table: pandas.DataFrame, n: int, columns: tuple[str, ...]) -> set[str]:
    """The union of the n largest by each column, of whole numbers sorted."""
    return {
        name
        for column in columns
        for name in table[table[column].astype(float).abs() > 0].sort_values(
            column, key=lambda numbers: -numbers.astype(float).abs()
        )["name"][:n]
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_several_columns_are_the_union_of_the_largest_by_each(family: str) -> None:
    why = asked(family)
    table = every_node(family)
    table = table[~table["name"].str.startswith("EMB")]
    for columns in (("total_effect", "direct_effect"), ("write_norm", "total_effect", "activation"), COLUMNS):
        kinds = ("head", "neuron")
        found = why.nodes(7, columns, kinds=kinds)
        assert set(found["name"]) == brute_force(table, 7, columns)
        assert len(found) == len(set(found["name"])) > 7
        assert found[columns[0]].abs().is_monotonic_decreasing
        assert set(why.nodes(7, columns[0], kinds=kinds)["name"]) <= set(found["name"])
    assert why.nodes(9, ["total_effect"]).equals(why.nodes(9))


@pytest.mark.parametrize("family", FAMILIES)
def test_names_choose_what_a_search_through_all_nodes_finds(family: str) -> None:
    why = asked(family)
    table = every_node(family).sort_values("total_effect", key=lambda numbers: -numbers.abs())
    table = table[table["total_effect"] != 0]
    neuron = why.nodes(1, kinds="neuron", layers=1)["name"].iloc[0].split("@")[0]
    tested = {
        "L1H1": r"L1H1@\d+<-\d+",
        "L1H1@3": r"L1H1@3<-\d+",
        "L1H1@-1": r"L1H1@5<-\d+",
        "L1H1<-1": r"L1H1@\d+<-1",
        "L1H1@3<-1": "L1H1@3<-1",
        neuron: rf"{neuron}@\d+",
        f"{neuron}@2": f"{neuron}@2",
        "EMB": r"EMB@\d+",
        "EMB@4": "EMB@4",
    }
    for name, pattern in tested.items():
        expected = table["name"][table["name"].str.fullmatch(pattern)].tolist()
        assert why.nodes(ALL, names=name)["name"].tolist() == expected, name
    several = why.nodes(ALL, names=["L1H1@3", neuron, "EMB@4"])["name"].tolist()
    together = "|".join([tested["L1H1@3"], tested[neuron], tested["EMB@4"]])
    assert several == table["name"][table["name"].str.fullmatch(together)].tolist()
    assert why.nodes(3, names=["L1H1@3", neuron, "EMB@4"])["name"].tolist() == several[:3]
    direct = why.nodes(ALL, "direct_effect", names=["L1H1", neuron])["name"].tolist()
    own = table[table["name"].str.fullmatch(rf"L1H1@5<-\d+|{neuron}@5")]
    assert direct == own.sort_values("direct_effect", key=lambda numbers: -numbers.abs())["name"].tolist()


def test_names_go_with_other_filters_and_in_any_form() -> None:
    why = asked()
    table = why.nodes(ALL, names="L1H1")
    assert set(why.nodes(ALL, names="L1H1", tokens=[2, 3])["token"]) == {f"t{PROMPT[2]}", f"t{PROMPT[3]}"}
    assert why.nodes(ALL, names="L1H1", layers=2).empty
    assert why.nodes(ALL, names="L1H1", kinds="neuron").empty
    assert why.nodes(ALL, names=[]).empty
    row = table.iloc[4]
    for given in (row, row.name, table.iloc[4:5], [row], row["name"]):
        assert why.nodes(ALL, names=given)["name"].tolist() == [row["name"]]
    spaced = attribute(context("gpt2"), PROMPT, [[7, 11]], [[9, 3, 4]])
    assert set(spaced.nodes(ALL, names="L1H1@2<-1")["answer"]) == {asked.answer for asked in spaced.inquiry.passes}


def test_names_of_latents() -> None:
    own = autoencoders("gpt2", D.RESID_DELTA_MLP)
    why = asked(autoencoders=own)
    found = why.nodes(ALL, names="L1A4")["name"].tolist()
    assert sorted(found) == sorted(name for name in why.nodes(ALL, kinds="latent")["name"] if name.startswith("L1A4@"))
    assert found
    assert why.nodes(ALL, names="L1N4").empty  # the autoencoder stands for the neurons


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"names": "L2"}, InvalidRequestError, "L2 is not a head, neuron, latent or embedding. Write L23H3"),
        ({"names": ["L1H1", "L2MLP"]}, InvalidRequestError, "L2MLP is not a head"),
        ({"names": "L9H1"}, InvalidRequestError, "no layer 9"),
        ({"names": "L1H7"}, InvalidRequestError, "L1H7: the layer has 4 of these. Choose 0 to 3"),
        ({"names": "L2N7777"}, InvalidRequestError, "L2N7777: the layer has"),
        ({"names": "L1H1@77"}, InvalidRequestError, "77"),
        ({"names": "nonsense"}, NodeNameError, "'nonsense' is not a node's name"),
        ({"names": "L2A1"}, InvalidRequestError, "asked without autoencoders"),
        ({"by": []}, InvalidRequestError, "by is an empty list"),
        ({"by": ["total_effect", "charm"]}, UnknownNameError, "Unknown column of nodes 'charm'"),
    ],
)
def test_what_is_refused(options: Any, error: type[Exception], says: str) -> None:
    why = asked()
    with pytest.raises(error, match=says):
        why.nodes(**options)
    with pytest.raises(error, match=says):
        why.compare([5, 17, 4, 44, 17, 20]).nodes(**options)


def test_comparisons_take_the_same_filters() -> None:
    both = asked().compare([5, 17, 4, 44, 17, 20])
    sides = [pandas.DataFrame(why.nodes(ALL, names="L1H1")).set_index("name") for why in (both.first, both.second)]
    difference = sides[0]["total_effect"].sub(sides[1]["total_effect"], fill_value=0.0)
    found = both.nodes(5, names="L1H1")
    expected = difference.sort_values(key=lambda numbers: -numbers.abs())
    assert found["name"].tolist() == expected.index[:5].tolist()
    assert found["difference"].tolist() == pytest.approx(expected.tolist()[:5])
    several = both.nodes(4, ["direct_effect", "activation"], kinds="head", layers=[1, 2])
    for column in ("direct_effect", "activation"):
        alone = both.nodes(4, column, kinds="head", layers=[1, 2])
        assert set(alone["name"]) <= set(several["name"])
    assert (several["difference"] - (several["direct_effect_1"] - several["direct_effect_2"])).abs().max() < 1e-12
    assert several["difference"].abs().is_monotonic_decreasing
    assert set(both.nodes(10, tokens=2, kinds="neuron")["token_1"]) == {f"t{PROMPT[2]}"}


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_by_layer_sum_to_tokens(family: str) -> None:
    kinds: list[dict[str, Any]] = [{}]
    if family == "gpt2":
        kinds.append({"autoencoders": autoencoders(family, D.RESID_DELTA_MLP)})
    for options in kinds:
        why = asked(family, **options)
        whole, by_layer = why.tokens(), why.tokens(by_layer=True)
        columns = [column for column in by_layer.columns if column not in ("layer", "token", "position")]
        assert columns == ["attention_from", "attention_to", "mlp", *(["latents"] if options else [])]
        assert len(by_layer) == 3 * len(PROMPT)
        summed = by_layer.groupby("position")[columns].sum()
        assert (summed - whole.set_index("position")[columns]).abs().max().max() < 1e-12
        nodes = pandas.DataFrame(why.nodes(ALL))
        for row in by_layer.itertuples():
            patterns = (
                ("attention_from", rf"L{row.layer}H\d+@{row.position}<-\d+"),
                ("attention_to", rf"L{row.layer}H\d+@\d+<-{row.position}"),
                ("mlp", rf"L{row.layer}N\d+@{row.position}"),
                ("latents", rf"L{row.layer}A\d+@{row.position}"),
            )
            for column, pattern in patterns:
                own = nodes["total_effect"][nodes["name"].str.fullmatch(pattern)].sum()
                assert getattr(row, column, 0.0) == pytest.approx(own, abs=1e-12)


def test_tokens_by_layer_of_answers_of_several_tokens() -> None:
    why = attribute(context("gpt2"), PROMPT, [[7, 11]], [[9, 3, 4]])
    by_layer, whole = why.tokens(by_layer=True), why.tokens()
    assert list(by_layer.columns[:4]) == ["answer", "layer", "token", "position"]
    keys = ["answer", "position"]
    summed = by_layer.groupby(keys)["mlp"].sum() - whole.groupby(keys)["mlp"].sum()
    assert summed.abs().max() < 1e-12
    with pytest.raises(InvalidRequestError, match="by_layer is 'yes'"):
        why.tokens("yes")
