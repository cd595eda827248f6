"""Mistakes. `mypy --strict` must complain about each line that is marked, with that code, and about no other line."""

import neuron_explainer as ne

ne.load_nueron("tiny", 2, 5)  # E: attr-defined
ne.errors.UnknownNameErorr  # E: attr-defined
ne.load_neuron("tiny", layer=2.5, neuron=5)  # E: arg-type
ne.load_neuron("tiny", nueron=2)  # E: call-arg
ne.load_neuron("tiny", 2, 5).maen  # E: attr-defined
ne.load_neurons([(2, 5, 7)], "tiny")  # E: list-item
ne.ActivationRecord("a", 3)  # E: arg-type
model = ne.load_model("tiny", devise="cpu")  # E: call-arg
model.generate(5)  # E: call-overload
model.genrate("a")  # E: attr-defined
ne.derive("a", "mlp_post_act", model, lss=None)  # E: call-arg
ne.derive("a", 3, model)  # E: arg-type
ne.derive("a", "mlp_post_act", "tiny")  # E: arg-type
ne.derive("a", "mlp_post_act", model).top_k(3)  # E: attr-defined
ne.derive_batch(["a"], "mlp_post_act", model, loss="logit_diff")  # E: arg-type
ne.LossFnConfig("logit_diff", targets=[" cat"])  # E: call-arg
ne.LossFnConfig("logit_diff", [2.5])  # E: list-item
ne.NodeIndex("mlp_neuron", 5, (7, "all"))  # E: arg-type
ne.NodeIndex("mlp_neuron", "5", (7, 1))  # E: arg-type
ne.TraceConfig(ne.NodeIndex("mlp_neuron", 5, (7, 1)), pre_or_post="pre")  # E: call-arg
ne.DstConfig(model)  # E: arg-type, call-arg
ne.CollateSettings(layer=1)  # E: call-arg
ne.CollateSettings(top_k="5")  # E: arg-type
ne.collate(model, ["a"], "out", contxt_length=3)  # E: call-arg
ne.collate(model, ["a"], "out", context_length="3")  # E: arg-type
ne.collate(model, ["a"], "out", layout="pickled")  # E: arg-type
ne.collate(model, 5, "out")  # E: arg-type
ne.collate(model, ["a"], "out", loss="logit_diff")  # E: arg-type
ne.collate(model, ["a"], "out", device=1.5)  # E: arg-type
ne.live_record(model, 1, 2, ["a"], loss=3)  # E: arg-type
ne.verify("tiny", model=3)  # E: arg-type
ne.convert("in", "out", "zip")  # E: arg-type
ne.Sampling(0.8)  # E: call-arg
ne.NeuronViewer("tiny", layer=2.5)  # E: arg-type
ne.NeuronViewer("tiny", nueron=5)  # E: call-arg
ne.token_heatmap(["a"], ["b"])  # E: list-item
