"""Settings: impossible values refused all at once; presets; what overrides change besides."""

import json
import math
from dataclasses import FrozenInstanceError, asdict, fields, replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from zigpt.cli.retry import overrides_of
from zigpt.errors import ConfigError
from zigpt.gpt.config import (
    PRESETS,
    GPTConfig,
    SampleConfig,
    TrainConfig,
    configure,
    restore,
)
from zigpt.gpt.model import GPT
from zigpt.training.optim import learning_rate_at

INF, NAN = math.inf, math.nan
CHOSEN_BY_NAME = ("precision", "optimizer", "architecture", "windows")
MODEL_FIELDS = {field.name for field in fields(GPTConfig)}
TRAIN_FIELDS = {field.name for field in fields(TrainConfig)}

IMPOSSIBLE = [
    (GPTConfig, "vocab_size", 0, "vocab_size (0) must be at least 1", "raise `vocab_size`"),
    (GPTConfig, "block_size", -3, "block_size (-3) must be at least 1", "raise `block_size`"),
    (GPTConfig, "n_layer", 0, "n_layer (0) must be at least 1", "raise `n_layer`"),
    (GPTConfig, "n_head", 0, "n_head (0) must be at least 1", "raise `n_head`"),
    (GPTConfig, "n_head", -6, "n_head (-6) must be at least 1", "raise `n_head`"),
    (GPTConfig, "n_head", -7, "n_head (-7) must be at least 1", "raise `n_head`"),
    (GPTConfig, "n_embd", 0, "n_embd (0) must be at least 1", "raise `n_embd`"),
    (GPTConfig, "n_embd", -7, "n_embd (-7) must be at least 1", "raise `n_embd`"),
    (
        GPTConfig,
        "n_embd",
        100,
        "n_embd (100) must be divisible by n_head (6)",
        "try `n_embd` 96 or 102",
    ),
    *(
        (
            GPTConfig,
            "dropout",
            value,
            f"dropout ({value}) must be from 0 to below 1",
            "try `dropout` 0.2",
        )
        for value in (-0.1, 1.0, 1.5, INF, -INF, NAN)
    ),
    (TrainConfig, "batch_size", 0, "batch_size (0) must be at least 1", "raise `batch_size`"),
    (TrainConfig, "max_steps", 0, "max_steps (0) must be at least 1", "raise `max_steps`"),
    *(
        (part, name, most + 1, f"{name} ({most + 1}) must be at most {most:,}", f"lower `{name}`")
        for part, name, most in (
            (GPTConfig, "block_size", 2**20),
            (GPTConfig, "n_layer", 10**12),
            (TrainConfig, "batch_size", 10**12),
        )
    ),
    (TrainConfig, "warmup_steps", 10**13, "warmup_steps (10000000000000) must be from 0", "try "),
    (TrainConfig, "eval_interval", -1, "eval_interval (-1) must be at least 1", "raise "),
    (TrainConfig, "parts", 0, "parts (0) must be at least 1", "raise `parts`"),
    *(
        (
            TrainConfig,
            "parts",
            value,
            f"parts ({value}) must be a power of two, and at most the batch size (64)",
            f"try `parts` {nearest}",
        )
        for value, nearest in ((3, 2), (63, 32), (65, 64), (128, 64))
    ),
    (TrainConfig, "eval_chars", 0, "eval_chars (0) must be at least 1", "raise `eval_chars`"),
    *(
        (TrainConfig, name, -1, f"{name} (-1) must be from 0 to 1,000,000,000,000", "try ")
        for name in ("warmup_steps", "decay_steps")
    ),
    (
        TrainConfig,
        "patience",
        -2,
        "patience (-2) must be from 0 to 1,000,000,000,000",
        "try `patience` 0",
    ),
    *(
        (
            TrainConfig,
            name,
            value,
            f"{name} ({value}) must be from 0 to 1,000,000,000,000",
            f"try `{name}` 0",
        )
        for name in ("weight_decay", "grad_clip")
        for value in (-0.5, -INF, NAN)
    ),
    *(
        (TrainConfig, name, value, f"{name} ({value}) must be ", f"try `{name}` 3e-4")
        for name in ("learning_rate", "final_learning_rate")
        for value in (0.0, -1e-3, 100.0, INF, -INF, NAN)
    ),
    *(
        (
            TrainConfig,
            "beta2",
            value,
            f"beta2 ({value}) must be above 0 and below 1",
            "try `beta2` 0.99",
        )
        for value in (0.0, 1.0, -0.5, 2.0, INF, NAN)
    ),
    *(
        (
            SampleConfig,
            "temperature",
            value,
            f"temperature ({value}) must be 0 or more",
            "try `temp",
        )
        for value in (-0.1, INF, -INF, NAN)
    ),
    (SampleConfig, "top_k", -1, "top_k (-1) must be 0 or more", "try `top_k` 20"),
    *(
        (
            SampleConfig,
            "top_p",
            value,
            f"top_p ({value}) must be above 0 and at most 1",
            "try `top_",
        )
        for value in (0.0, -0.1, 1.01, INF, NAN)
    ),
    *(
        (
            SampleConfig,
            "min_p",
            value,
            f"min_p ({value}) must be from 0 to 1",
            "try `min_p` 0.05",
        )
        for value in (-0.1, 1.01, INF, NAN)
    ),
    *(
        (
            SampleConfig,
            "repetition_penalty",
            value,
            f"repetition_penalty ({value}) must be from 0.01 to 100",
            "try `repetition_penalty` 1.2",
        )
        for value in (0.0, 0.009, 100.1, INF, NAN)
    ),
    *(
        (part, "seed", value, f"seed ({value}) must be from 0 to 2^63 - 1", "try `seed` 1337")
        for part in (TrainConfig, SampleConfig)
        for value in (-1, 2**63)
    ),
]

EDGES = [
    (GPTConfig, {"vocab_size": 1, "block_size": 1, "n_layer": 1, "n_head": 1, "n_embd": 1}),
    (GPTConfig, {"vocab_size": 10**12, "block_size": 2**20, "n_layer": 10**12}),
    (GPTConfig, {"dropout": 0.0}),
    (GPTConfig, {"dropout": 0.999}),
    (GPTConfig, {"n_embd": 6, "n_head": 6}),
    (TrainConfig, {"batch_size": 1, "max_steps": 1, "eval_interval": 1, "eval_chars": 1}),
    (TrainConfig, {"warmup_steps": 0, "patience": 0, "weight_decay": 0.0, "grad_clip": 0.0}),
    (TrainConfig, {"learning_rate": 1e-12, "final_learning_rate": 99.9}),
    (TrainConfig, {"beta2": 1e-6}),
    (TrainConfig, {"beta2": 0.999999}),
    (TrainConfig, {"seed": 0}),
    (TrainConfig, {"seed": 2**63 - 1}),
    (SampleConfig, {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0}),
    (SampleConfig, {"min_p": 0.0, "repetition_penalty": 0.01}),
    (SampleConfig, {"min_p": 1.0, "repetition_penalty": 100.0}),
    (SampleConfig, {"temperature": 1e6, "top_k": 10**9, "top_p": 1e-9, "seed": 2**63 - 1}),
]


BROKEN = {
    field.name: (-1.0 if isinstance(field.default, float) else -1)
    for part in (GPTConfig, TrainConfig)
    for field in fields(part)
    if field.name not in ("n_embd", *CHOSEN_BY_NAME)
}


def named(error: ConfigError) -> list[str]:
    return sorted(problem.split(" ")[0] for problem, _ in error.problems)


def refusal(make: Any, **values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make(**values)
    return caught.value


@pytest.mark.parametrize(("part", "name", "value", "problem", "remedy"), IMPOSSIBLE)
def test_every_impossible_value_is_refused_with_its_own_problem_and_remedy(
    part, name, value, problem, remedy
):
    ((found, advice),) = refusal(part, **{name: value}).problems
    assert found.startswith(problem)
    assert advice.startswith(remedy)


def test_every_number_of_every_config_has_a_range():
    refused = {(part, name) for part, name, *_ in IMPOSSIBLE}
    for part in (GPTConfig, TrainConfig, SampleConfig):
        for field in fields(part):
            assert field.name in CHOSEN_BY_NAME or (part, field.name) in refused


@pytest.mark.parametrize(("part", "values"), EDGES)
def test_the_last_possible_value_before_an_impossible_one_is_accepted(part, values):
    assert asdict(part(**values)) == {**asdict(part()), **values}


@pytest.mark.parametrize("part", [GPTConfig(), TrainConfig(), SampleConfig()])
def test_settings_cannot_be_changed_without_being_checked(part):
    name = "vocab_size" if isinstance(part, GPTConfig) else "seed"
    with pytest.raises(FrozenInstanceError):
        setattr(part, name, -1)
    assert named(refusal(partial(replace, part), **{name: -1})) == [name]


def test_every_option_explains_itself_in_one_line():
    for part in (GPTConfig, TrainConfig, SampleConfig):
        helps = [field.metadata["help"] for field in fields(part)]
        assert all(text and "\n" not in text and len(text) < 100 for text in helps)
        assert len(set(helps)) == len(helps)


def test_the_refusal_of_an_indivisible_width_reads_as_the_design_says():
    error = refusal(GPTConfig, n_embd=100, n_head=6)
    assert str(error) == (
        "impossible settings: 1 problem\n"
        "why: n_embd (100) must be divisible by n_head (6)\n"
        "fix: try `n_embd` 96 or 102"
    )
    assert error.exit_code == 2


@given(n_embd=st.integers(1, 5000), n_head=st.integers(1, 64))
def test_the_advised_widths_are_the_nearest_divisible_ones(n_embd, n_head):
    divisible = [w for w in range(n_head, n_embd + 2 * n_head) if w % n_head == 0]
    if n_embd in divisible:
        assert GPTConfig(n_embd=n_embd, n_head=n_head).n_embd == n_embd
        return
    ((_, remedy),) = refusal(GPTConfig, n_embd=n_embd, n_head=n_head).problems
    advised = [int(word) for word in remedy.removeprefix("try `n_embd` ").split(" or ")]
    below = [w for w in divisible if w < n_embd][-1:]
    above = [w for w in divisible if w > n_embd][:1]
    assert set(advised) == set(below + above)
    for width in advised:
        assert GPTConfig(n_embd=width, n_head=n_head).n_embd == width


def test_for_a_width_below_the_number_of_heads_one_value_is_advised():
    ((_, remedy),) = refusal(GPTConfig, n_embd=3, n_head=6).problems
    assert remedy == "try `n_embd` 6"


@given(names=st.sets(st.sampled_from(sorted(MODEL_FIELDS & set(BROKEN))), min_size=1))
def test_a_model_names_all_its_problems_at_once(names):
    error = refusal(GPTConfig, **{name: BROKEN[name] for name in names})
    assert named(error) == sorted(names)
    count = len(names)
    assert error.what == f"impossible settings: {count} problem{'s' if count > 1 else ''}"
    assert error.why == "; ".join(problem for problem, _ in error.problems)
    assert error.fix == "; ".join(remedy for _, remedy in error.problems)


@given(names=st.sets(st.sampled_from(sorted(set(BROKEN) - {"vocab_size"}))))
def test_problems_of_model_and_training_are_named_in_one_refusal(names):
    overrides = {"final_learning_rate": 1e-4, "warmup_steps": 0}
    overrides |= {name: BROKEN[name] for name in names}
    error = refusal(configure, vocab_size=0, preset="laptop", overrides=overrides)
    assert named(error) == sorted(names | {"vocab_size"})


def test_all_sampling_problems_are_named_at_once():
    error = refusal(SampleConfig, temperature=-1.0, top_k=-1, top_p=-1.0, seed=-1)
    assert named(error) == ["seed", "temperature", "top_k", "top_p"]


Shape = tuple[int, int, int, int, int, Any]
TEXTBOOK: Shape = (65, 256, 6, 6, 32, "classic")
shapes = st.tuples(
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["classic", "modern"]),
)


def model_of(shape: Shape) -> GPTConfig:
    vocab_size, block_size, n_layer, n_head, pairs, architecture = shape
    width = 2 * pairs * n_head
    return GPTConfig(vocab_size, block_size, n_layer, n_head, width, 0.0, architecture)


@given(shape=shapes)
@example(shape=TEXTBOOK)
@example(shape=(*TEXTBOOK[:-1], "modern"))
def test_the_shapes_name_exactly_the_weights_of_the_real_model_in_its_order(shape):
    config = model_of(shape)
    real = [(name, tuple(weight.shape)) for name, weight in GPT(config).named_parameters()]
    assert list(config.shapes().items()) == real


def test_a_model_of_a_trillion_layers_is_counted_without_naming_its_weights():
    one, two, many = (GPTConfig(n_layer=n).n_parameters for n in (1, 2, 10**12))
    assert many == one + (10**12 - 1) * (two - one)


@given(shape=shapes)
@example(shape=TEXTBOOK)
def test_the_parameter_table_adds_up_the_weights_of_the_real_model(shape):
    config = model_of(shape)
    rows = {
        "token_embedding": "token embedding",
        "position_embedding": "position embedding",
        "attn": "attention",
        "ffn": "feed-forward",
        "ln_1": "layer norms",
        "ln_2": "layer norms",
        "ln_f": "layer norms",
        "head": "head",
    }
    real = dict.fromkeys(rows.values(), 0)
    for name, parameter in GPT(config).named_parameters():
        (row,) = {rows[part] for part in name.split(".") if part in rows}
        real[row] += parameter.numel()
    assert {row: n for row, n in real.items() if n} == config.parameter_table()
    assert config.n_parameters == sum(real.values())


def test_a_modern_head_has_an_even_number_of_channels():
    ((problem, remedy),) = refusal(GPTConfig, n_embd=35, n_head=5, architecture="modern").problems
    assert problem == "n_embd (35) must be divisible by 2 x n_head (10)"
    assert remedy == "try `n_embd` 30 or 40"
    assert GPTConfig(n_embd=40, n_head=5, architecture="modern").n_embd == 40


def test_a_block_has_a_limit_even_where_no_weight_depends_on_it():
    assert GPTConfig(block_size=2**20, architecture="modern").block_size == 2**20
    ((problem, _),) = refusal(GPTConfig, block_size=2**20 + 1, architecture="modern").problems
    assert problem == "block_size (1048577) must be at most 1,048,576"


def test_the_presets_of_the_textbooks_shape_are_classic_and_the_small_ones_modern():
    found = {preset: configure(65, preset, {})[0].architecture for preset in PRESETS}
    assert found == {"tiny": "modern", "laptop": "modern", "gpu": "classic", "seed": "classic"}


def test_a_config_survives_a_file():
    for config in (GPTConfig(architecture="modern"), TrainConfig(optimizer="muon")):
        assert restore(type(config), json.loads(json.dumps(asdict(config)))) == config
    assert restore(GPTConfig, {"n_layer": 3, "dropout": 0.0}) == GPTConfig(n_layer=3, dropout=0.0)


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        (GPTConfig, {"architecture": "future"}),
        (GPTConfig, {"n_layer": 2.0}),
        (GPTConfig, {"n_layer": True}),
        (GPTConfig, {"n_layer": None}),
        (GPTConfig, {"dropout": "0.1"}),
        (TrainConfig, {"optimizer": ["adamw"]}),
        (TrainConfig, {"precision": "float16"}),
    ],
)
def test_values_in_a_file_must_be_of_the_types_that_options_have(part, setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"^{name} cannot be"):
        restore(part, setting)


def test_a_file_with_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="n_experts"):
        restore(GPTConfig, {"n_experts": 2})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_sets_only_fields_that_exist(preset):
    model, training = configure(65, preset, {})
    assert set(PRESETS[preset]) <= MODEL_FIELDS | TRAIN_FIELDS
    assert model.vocab_size == 65
    for name, value in PRESETS[preset].items():
        assert getattr(model if name in MODEL_FIELDS else training, name) == value


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_warms_up_within_its_run_and_ends_at_or_below_its_peak(preset):
    _, training = configure(65, preset, {})
    assert training.warmup_steps < training.max_steps
    assert training.final_learning_rate <= training.learning_rate
    assert training.eval_interval <= training.max_steps


def test_the_seed_preset_is_the_textbook_run():
    model, training = configure(65, "seed", {})
    assert model == GPTConfig(65, 256, 6, 6, 384, 0.2)
    assert training == TrainConfig(
        batch_size=64,
        learning_rate=3e-4,
        final_learning_rate=3e-4,
        warmup_steps=0,
        max_steps=5000,
        eval_interval=200,
        patience=10,
    )


def test_the_textbook_optimizer_is_torchs_adamw_with_its_defaults():
    (usual,) = torch.optim.AdamW([torch.zeros(1)]).param_groups
    assert TrainConfig().weight_decay == usual["weight_decay"]
    assert TrainConfig().beta2 == usual["betas"][1]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "overrides",
    [
        {"n_layer": 9},
        {"batch_size": 7, "dropout": 0.75},
        {"warmup_steps": 3},
        {"final_learning_rate": 0.5},
        {"learning_rate": 0.25, "final_learning_rate": 0.125},
        {"max_steps": 50, "warmup_steps": 40},
        {"precision": "bfloat16", "seed": 5},
    ],
    ids=str,
)
def test_overrides_win_and_change_nothing_else(preset, overrides):
    before_model, before_training = configure(65, preset, {})
    model, training = configure(65, preset, overrides)
    of_model = {name: value for name, value in overrides.items() if name in MODEL_FIELDS}
    of_training = {name: value for name, value in overrides.items() if name in TRAIN_FIELDS}
    assert model == replace(before_model, **of_model)
    assert training == replace(before_training, **of_training)


@given(max_steps=st.integers(1, 3000), preset=st.sampled_from(list(PRESETS)))
def test_warm_up_never_takes_more_than_a_tenth_of_a_shortened_run(max_steps, preset):
    _, usual = configure(65, preset, {})
    _, training = configure(65, preset, {"max_steps": max_steps})
    assert training.max_steps == max_steps
    assert training.warmup_steps == min(usual.warmup_steps, max_steps // 10)


@given(peak=st.floats(1e-6, 90), preset=st.sampled_from(list(PRESETS)))
def test_changing_the_peak_alone_scales_the_whole_schedule(peak, preset):
    _, usual = configure(65, preset, {})
    _, training = configure(65, preset, {"learning_rate": peak})
    for step in (0, 5, 99, 100, 300, usual.max_steps - 1, usual.max_steps):
        scaled = learning_rate_at(step, usual) * peak / usual.learning_rate
        assert learning_rate_at(step, training) == pytest.approx(scaled, rel=1e-9)


def test_a_constant_rate_stays_exactly_constant_when_it_is_changed():
    _, training = configure(65, "seed", {"learning_rate": 7e-4})
    assert {learning_rate_at(step, training) for step in range(0, 5001, 100)} == {7e-4}


@given(st.data(), st.sampled_from(list(PRESETS)))
def test_settings_are_rebuilt_from_their_overrides(data, preset):
    values = {
        "n_layer": st.integers(1, 9), "dropout": st.floats(0, 0.9),
        "learning_rate": st.floats(1e-9, 99), "final_learning_rate": st.floats(1e-9, 99),
        "warmup_steps": st.integers(0, 99), "max_steps": st.integers(1, 3000),
        "precision": st.just("float32"), "seed": st.integers(0, 9),
    }  # fmt: skip
    names = data.draw(st.sets(st.sampled_from(list(values))))
    overrides = {name: data.draw(values[name]) for name in sorted(names)}
    model, training = configure(65, preset, overrides)
    found = overrides_of(preset, model, training)
    assert configure(65, preset, found) == (model, training)
    assert found.items() <= overrides.items()


def test_configure_does_not_change_the_presets():
    before = {name: dict(values) for name, values in PRESETS.items()}
    overrides = {"max_steps": 10, "learning_rate": 1e-2}
    configure(65, "laptop", overrides)
    assert before == {name: dict(values) for name, values in PRESETS.items()}
    assert overrides == {"max_steps": 10, "learning_rate": 1e-2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -5.0),
        ("learning_rate", NAN),
        ("learning_rate", 101.0),
        ("learning_rate", 99_999.0),
        ("max_steps", -5),
    ],
)
def test_only_the_wrong_value_is_complained_about(name, value):
    assert named(refusal(configure, vocab_size=65, preset="laptop", overrides={name: value})) == [
        name
    ]


@pytest.mark.parametrize("name", ["learning_rate", "final_learning_rate"])
def test_a_rate_that_is_too_high_is_not_called_too_low(name):
    ((problem, _),) = refusal(TrainConfig, **{name: 100.0}).problems
    assert problem != f"{name} (100.0) must be above 0"


def test_an_infinite_weight_decay_is_refused():
    assert named(refusal(TrainConfig, weight_decay=INF)) == ["weight_decay"]
