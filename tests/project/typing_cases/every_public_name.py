"""Every public name, used as its documentation says. `mypy --strict` has nothing to say about it; it is never run.

A new public name gets a line here.
"""

import warnings
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
import torch

import neuron_explainer as ne
from neuron_explainer.explanations import Explanation, Explanations, ExplanationScore, save_explanations
from neuron_explainer.models import ChatText, ChatTokens


def datasets_and_records() -> None:
    assert_type(ne.datasets(), pd.DataFrame)
    record = ne.load_neuron("tiny", 2, np.int64(5), "mlp_post_act", use_cache=False)
    assert_type(record, ne.NeuronRecord)
    assert_type(record.most_positive_activation_records, list[ne.ActivationRecord])
    same = ne.load_neuron(Path("folder"), torch.tensor(2), 5, ne.DerivedScalarType.MLP_POST_ACT)
    assert_type(same.mean, float | None)
    neuron_id = ne.NeuronId(np.int32(0), neuron_index=1)
    results = ne.load_neurons([(2, 5), (np.int64(3), 7), neuron_id], "tiny", progress=False)
    assert_type(results.records, list[ne.NeuronRecord])
    assert_type(ne.load_explanations("gpt2-xl", 5, 131).to_dataframe(), pd.DataFrame)
    example = ne.ActivationRecord(("a", "b"), np.zeros(2))
    assert_type(ne.save_neuron("folder", ne.NeuronRecord(ne.NeuronId(0, 1), [example])), Path)
    metadata = ne.register_dataset("folder", "mine", replace=True)
    ne.register_neuron_dataset_metadata(metadata, replace=True)


def lenses(model: ne.ModelContext) -> None:
    fitted = ne.fit_jacobian_lens(model, ["a text", [1, 2]], Path("lens.pt"), n_prompts=np.int64(2), layers=[0])
    assert_type(fitted, ne.JacobianLens)
    assert_type(ne.merge_jacobian_lenses([fitted, "other.pt"], "both.safetensors"), ne.JacobianLens)
    assert_type(ne.load_jacobian_lens(Path("lens.pt")).layers, tuple[int, ...])
    reading = ne.lens(model, "a prompt", kind=fitted, of="resid", positions=-1, tokens=[" a", np.int64(5)])
    assert_type(reading, ne.LensReading)
    assert_type(reading.positions, tuple[int, ...])
    table: pd.DataFrame = ne.lens_of_vector(model, torch.zeros(4), kind="lens.pt", layer=2, tokens=" a")
    assert_type([len(each) for each in (table, reading.to_dataframe(), reading.of_tokens)], list[int])


def derived_scalars(model: ne.ModelContext) -> None:
    loss = ne.LossFnConfig("logit_diff", [" cat", np.int64(5)], [" dog"])
    assert_type(loss.name, ne.LossFnName)
    place = ne.ActivationIndex("mlp.post_act", np.int64(5), ["All", 131], "backward")
    assert_type(place.activation_location_type, ne.ActivationLocationType)
    assert_type(place.pass_type, ne.PassType)
    node = ne.NodeIndex("mlp_neuron", 5, (7, 131))
    assert_type(node.node_type, ne.NodeType)
    assert_type(node.dimensions, tuple[ne.Dimension | None, ...])
    query = ne.AttnSubNodeIndex("attention_head", 5, (7, 3, 1), q_k_or_v="q")
    assert_type(query.q_k_or_v, ne.AttnSubNode)
    trace = ne.TraceConfig(query, "post", attention_trace_type="QK")
    assert_type(trace.pre_or_post_act, ne.PreOrPostAct)
    assert_type(trace.attention_trace_type, ne.AttentionTraceType | None)
    name = ne.parse_node("L5H1@7<-3", kind="head", tokens=["a"] * 8)
    assert_type(name, ne.NodeName)
    assert_type(ne.NodeName("head", np.int64(5), 1, token=" Mary").resolved([" Mary"]).to_node_index(), ne.NodeIndex)
    assert_type(ne.NodeName.of(node).to_trace_config("q", pre_or_post_act="pre"), ne.TraceConfig)
    config = ne.DstConfig(model_context=model, layer_indices=[2], trace_config=trace, node_index_for_attribution=node)
    why = ne.attribute(model, "a prompt", " a", [" b", 7], metric="logit_diff", positions=np.int64(-1))
    why.save(Path("why.safetensors"))
    assert_type(ne.load_attribution("why.safetensors"), ne.Attribution)
    assert_type(ne.load_attribution(Path("why.safetensors"), config, autoencoders=None).ablate("L5H1"), ne.Attribution)
    preview = ne.preview_question(model, "a prompt", " a", [" b", 7], metric="logit_diff", positions=[-1])
    assert_type(preview, ne.QuestionPreview)
    assert_type([preview.answer_tokens(answer) for answer in preview.targets], list[list[str]])
    ablations = [ne.AblationSpec(place, 0), ne.AblationSpec(place, value=1.5)]
    store = ne.derive("a prompt", ["mlp_post_act", ne.DerivedScalarType.ATTN_WRITE_NORM], config, ablations=ablations)
    assert_type(store, ne.DerivedScalarStore)
    assert_type(store[ne.DerivedScalarIndex("mlp_post_act", 2, (0, "All"))], torch.Tensor)
    assert_type(store.topk(np.int64(3), dsts="mlp_post_act")[1], list[ne.DerivedScalarIndex])
    assert_type(store.loss, float | None)
    ne.derive([5, 17, 3], "mlp_act_times_grad", model, loss=lambda logits: logits[-1, 3] - logits[-1, 4])
    ne.derive(torch.tensor([5, 17]), [("mlp_act_times_grad", config)], loss=loss)
    assert_type(ne.derive_batch(["a", [1, 2]], "mlp_post_act", config), list[ne.DerivedScalarStore])
    patch = ne.TensorAblation.from_prompt(place, model, "another prompt", tokens=[0, np.int64(1)])
    assert_type(patch.values, torch.Tensor)
    mean = ne.TensorAblation.mean(place, config, ["a text", "another"])
    ne.derive("a prompt", "logits", model, ablations=[patch, mean, ne.AblationSpec(place, "mean", tokens=[3])])
    ne.derive_batch(["a", "b"], "logits", model, loss=[loss, loss], ablations=[[mean], []], freeze_final_norm=True)
    assert_type(store.difference(store).select("mlp_post_act", layers=2), ne.DerivedScalarStore)
    assert_type(ne.DerivedScalarStore.mean([store, store]), ne.DerivedScalarStore)
    assert_type(store.to_dataframe(3, tokens=[0, 1]), pd.DataFrame)
    assert_type(ne.derived_scalars("norm"), pd.DataFrame)


def attention_patterns(model: ne.ModelContext) -> None:
    patterns = ne.attention(model, "a prompt", layers=[0, np.int64(2)], skip_first=True, prepend_bos=None)
    assert_type(patterns, ne.AttentionPatterns)
    assert_type(ne.attention("tiny", [5, 17]).to_dataframe(np.int64(5), skip_first=False), pd.DataFrame)
    patterns.pattern("L2H3").sum()
    patterns.pattern(np.int64(2), 3)
    assert_type(patterns.head(2, 3).name, str)
    patterns.figure("L2H3").show()
    assert_type(patterns.to_html("L2H3"), str)
    patterns.save_html(Path("attention.html"))


def own_datasets(model: ne.StandardModelContext) -> None:
    settings = ne.CollateSettings(dst="mlp_post_act", layers=[0, np.int64(2)], context_length=32)
    assert_type(settings.dst, ne.DerivedScalarType)
    assert_type(settings.context_length, int)
    path = ne.collate(model, ["a text"], "folder", layers=1, settings=settings, top_k=5, max_tokens=None, layout="json")
    assert_type(path, Path)
    records = [{"text": "a text"}]
    ne.collate(
        "tiny", records, path, dst="mlp_act_times_grad", loss=ne.LossFnConfig("zero"), device=0, dtype=np.float16
    )
    ne.collate("tiny", "a text", path, offload="disk")
    ne.collate(model, iter(["a text"]), path, loss=lambda logits: logits[-1, 3] - logits[-1, 4])
    assert_type(ne.convert(path, Path("packed"), "packed"), Path)
    assert_type(ne.live_record(model, 1, np.int64(355), ["a text"], top_k=3), ne.NeuronRecord)
    assert_type(ne.verify(path, 5, model=model).largest_difference, float)


def patching(model: ne.ModelContext) -> None:
    found = ne.patch(
        model, "a prompt", [5, 17], (" a", 7), at="heads", by=("layer", "head"), check=np.int64(3), steps=5
    )
    assert_type(found, ne.Patching)
    assert_type(found.to_dataframe(), pd.DataFrame)
    assert_type(found.top(np.int64(3)), pd.DataFrame)
    assert_type([found.clean_value, found.corrupted_value, found.spearman], list[float])
    found.figure().show()
    loss = ne.LossFnConfig("logit_diff", [" cat"], [" dog"])
    assert_type(
        ne.patch(model, ["a", "b"], ["c", "d"], loss, method="gradient", direction="noise").pairs[0], ne.Patching
    )


def components(model: ne.ModelContext, autoencoders: ne.AutoencoderContext) -> None:
    node = ne.component("gpt2-small", "L5N131", model=model, explanations=Path("folder"))
    assert_type(node, ne.Component)
    assert_type(node.record, ne.NeuronRecord)
    assert_type(node.writes(np.int64(3)), pd.DataFrame)
    assert_type(ne.component(model, "L3H2").reads(3, tokens="a text", distance=torch.tensor(2)), pd.DataFrame)
    assert_type(ne.component(model, "L3H2").copying_score, float)
    assert_type(node.neighbours(3, "read", layers=[0, 1]), pd.DataFrame)
    assert_type(node.neighbours(3, by="activation", texts=["a text"]), pd.DataFrame)
    assert_type(node.activations([{"role": "user", "content": "a"}]), pd.DataFrame)
    assert_type(node.statistics.frequency, float | None)
    node.explanations.add("names", 0.5)
    assert_type(list(node.explanations), list[str])
    node.save_html("node.html")
    latent = ne.component(model, "L5A3", autoencoders=autoencoders)
    both = ne.compare_components([node, latent], ["a text"], scale="own")
    assert_type(both, ne.ComponentComparison)
    assert_type(both.to_dataframe(), pd.DataFrame)
    scores = ne.head_scores(model, ["a text"], max_tokens=1000)
    ne.plot_heads(scores, "previous")
    pages: int = ne.export_site("tiny", "site", nodes=["L1N355"], title="A site", progress=False).n_pages
    ne.export_site("tiny", "site", layers=range(2), dst="mlp_post_act", examples=3, neighbours=3, overwrite=bool(pages))
    statistics = ne.dataset_statistics("tiny", layers=0)
    assert_type(statistics, pd.DataFrame)
    ne.plot_dataset_statistics(statistics, "frequency", "max", colour=None, log_y=True)
    assert_type(ne.search("tiny", " the", kind="selective", n=np.int64(3)), pd.DataFrame)
    assert_type(ne.search(model, "a text", -1, reference=["another"]), pd.DataFrame)
    assert_type(ne.own_explanations(), pd.DataFrame)
    assert_type(ne.export_explanations("mine.json"), int)
    assert_type(ne.import_explanations(Path("mine.json")), int)
    assert_type(ne.bookmarks(), pd.DataFrame)
    assert_type(ne.export_bookmarks(Path("marks.csv")), int)
    assert_type(ne.import_bookmarks("marks.json"), int)


def explanations(model: ne.ModelContext) -> None:
    node = ne.component("tiny", "L1N355", model=model)
    written = ne.explain(node, n=np.int64(2))
    assert_type(written, Explanations)
    assert_type(written[0], Explanation)
    assert_type(written[0].simulate(["a"]), list[float])
    score = ne.score(written[0], ne.load_neuron("tiny", "L1N355"), others=["a text", written[0]], baselines=True)
    assert_type(score, ExplanationScore)
    assert_type(score.interval, tuple[float, float])
    assert_type(written[0].score(node), ExplanationScore)
    node.explanations.add(written[0], score)
    made = ne.explain_dataset(
        "tiny", ["L1N355"], None, [], Path("out"), layers=1, n=1, max_concurrent=2, progress=False
    )
    assert_type(made.failed, tuple[str, ...])
    assert_type(made.explanations, Path)
    assert_type(made.to_dataframe(), pd.DataFrame)
    assert_type(save_explanations(ne.load_explanations(made.explanations, "L1N355"), "folder"), Path)


def path_patching(model: ne.ModelContext) -> None:
    pairs = ne.prompt_pairs("agreement", np.int64(8), seed=1, model=model)
    assert_type(pairs, ne.PromptPairs)
    assert_type(pairs[0], ne.PromptPair)
    assert_type(pairs[:2].halves(), tuple[ne.PromptPairs, ne.PromptPairs])
    pairs.to_jsonl(Path("pairs.jsonl"))
    assert_type(ne.PromptPairs.from_jsonl("pairs.jsonl").to_dataframe(), pd.DataFrame)
    own = ne.PromptPair("The son", "The sons", " is", (" are", " were"))
    assert_type(ne.PromptPairs.from_dataframe(ne.PromptPairs([own]).to_dataframe()), ne.PromptPairs)
    paths = ne.path_patch(model, "a text", "a word", (" a", 5), ["L1H2", ["L0H1", "L0MLP"]], "logits", by="position")
    assert_type(paths, ne.PathPatching)
    assert_type(paths.top(3), pd.DataFrame)
    assert_type(ne.path_patch(model, pairs, receivers=("L3H2", "q"), freeze="heads+mlps").clean_value, float)


def models_and_autoencoders() -> None:
    model = ne.load_model("tiny", device="cpu", dtype=torch.float32)
    assert_type(model, ne.StandardModelContext)
    assert_type(ne.load_model("tiny", offload="disk", check_memory=False), ne.StandardModelContext)
    assert_type(model.generate("a", max_new_tokens=3, sampling=ne.Sampling(temperature=0.8, top_k=5)), str)
    messages = [{"role": "user", "content": "a"}]
    assert_type(model.chat_tokens(messages, add_generation_prompt=False, enable_thinking=True), ChatTokens)
    assert_type(model.chat_text(messages), ChatText)
    assert_type(model.generate(messages), str)
    assert_type(model.generate([messages, messages]), list[str])
    ne.derive(messages, "mlp_post_act", model)
    ne.derive(model.chat_tokens(messages), "mlp_post_act", model)
    ne.derive_batch([messages, "a", [1, 2]], "mlp_post_act", model)
    ne.live_record(model, 1, 355, [messages, "a text"])
    ne.NeuronViewer(model, texts=messages)
    assert_type(model.get_weight(ne.WeightLocationType.MLP_TO_HIDDEN, 0), torch.Tensor)
    assert_type(ne.known_models("gpt2"), pd.DataFrame)
    ne.register_model(ne.RegisteredModel(name="mine", description="A model.", path=Path("folder")))
    report = ne.check(model, torch.nn.Linear(2, 2), thorough=True)
    assert_type(report, ne.CheckReport)
    assert_type(report.to_dataframe(), pd.DataFrame)
    assert_type(ne.check_parity(model, torch.nn.Linear(2, 2)), pd.DataFrame)
    autoencoder, _ = ne.load_autoencoder("file.pt", "cpu")
    assert_type(autoencoder.encode(torch.zeros(1, 4)), torch.Tensor)
    context = ne.load_autoencoders(["0.pt", Path("1.pt")], "mlp_post_act", layers=[0, np.int64(1)], model=model)
    assert_type(context, ne.AutoencoderContext)
    assert_type(context.autoencoder_config, ne.AutoencoderConfig)
    contexts = ne.MultiAutoencoderContext.from_context_list([context])
    ne.DstConfig(model_context=model, multi_autoencoder_context=contexts)
    assert_type(ne.DerivedScalarType.MLP_POST_ACT.location_within_layer, ne.LocationWithinLayer | None)
    assert_type(ne.clear_cache(), int)
    assert_type(ne.__version__, str)


def views(record: ne.NeuronRecord) -> None:
    scale = ne.ColourScale(-1.0, 1.0)
    assert_type(ne.token_heatmap(["a", "b"], [0.5, 1], scale=scale, width=None), str)
    assert_type(ne.pair_view(record.random_sample[0], scale=scale), str)
    assert_type(ne.record_to_html(record, dst="mlp_post_act", examples=3), str)
    assert_type(ne.record_document(record, dataset="tiny"), str)
    ne.plot_example(record.random_sample[0])
    ne.plot_histogram(record)


def steering(model: ne.ModelContext) -> None:
    direction = ne.steering_direction(model, [("good", "bad"), ([1, 2], [3])], layers=np.int64(2))
    assert_type(direction, ne.SteeringDirection)
    assert_type(direction.with_unit_length().at(2), torch.Tensor)
    direction.save(Path("direction.gguf"), layers=[1, 2], model_hint="llama")
    ne.steering_direction(model, token=" king")
    steered = ne.steer(model, "L5N131", layers=[5], positions="generated", mode="clamp", strength=np.float32(2))
    assert_type(steered, ne.Steering)
    assert_type(steered.log_probability("a prompt", " text", strengths=[1, 2.5]), pd.DataFrame)
    assert_type(steered.generate([1, 2], strengths=3, text=" text").to_dataframe(), pd.DataFrame)
    with steered.applied(strength=1, n_prompt=4) as intervention:
        assert_type(intervention.changed, bool | None)


def warnings_given() -> None:
    warnings.simplefilter("error", ne.notices.NonFiniteWarning)
    warnings.simplefilter("error", ne.notices.UnchangedByInterventionWarning)


def widgets(model: ne.ModelContext) -> None:
    try:
        viewer = ne.NeuronViewer("tiny", np.int64(2), neuron=5, dst="mlp_post_act", texts=["a text"])
    except ne.errors.UnknownDatasetError as error:
        assert_type(error.choices, list[str])
        viewer = ne.NeuronViewer(model, examples=3)
        page = ne.AttributionViewer(model, "a prompt", " a", [" b", " c"], other_prompt="a second", metric="logit_diff")
        page.ablate("L1H2", "mean")
        page.trace(ne.NodeName("neuron", 1, 3, token=2), through=None)
        assert_type(page.attribution, ne.Attribution | None)
        assert_type(page.state, dict[str, Any])
        assert_type(ne.load_attribution("why.safetensors", model).view(), ne.AttributionViewer)
    datasets = ne.DatasetPicker("tiny", dst="attn_write_norm")
    datasets.dataset = Path("folder")
    assert_type(ne.DatasetPicker(Path("folder")).dst, ne.DerivedScalarType)
    picker = ne.NodePicker(model, node=ne.NodeIndex("mlp_neuron", 5, ("All", 131)), hide_dead=False)
    assert_type(picker.node, ne.NodeIndex)
    picker.node = "L5N131"
    picker.go("layer 5, neuron 131")
    picker.random(seed=1)
    picker.bookmark("a note")
    viewer.show(layer=3, neuron=torch.tensor(7))
    assert_type(viewer.record, ne.NeuronRecord | None)
