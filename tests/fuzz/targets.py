"""All targets by name."""

from fuzz import attribution_targets, autoencoder_targets, model_targets, record_targets, run_targets

TARGETS = {
    target.name: target
    for module in (record_targets, model_targets, autoencoder_targets, run_targets, attribution_targets)
    for target in module.TARGETS
}
