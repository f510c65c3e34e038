"""What `auto` chooses, and how often a text is evaluated on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.texts import story
from zigpt.cli.main import main
from zigpt.data.batches import Corpus
from zigpt.gpt.config import GPTConfig, TrainConfig, configure
from zigpt.tokenizers.char import CharTokenizer
from zigpt.training import advice
from zigpt.training.advice import advise, be_patient, drop_out, evaluate_often_enough, forget

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def corpus_of(length, vocab_size=60):
    ids = np.zeros(length, np.uint16)
    letters = CharTokenizer("".join(map(chr, range(0x4E00, 0x4E00 + vocab_size))))
    return Corpus(letters, ids[: length * 9 // 10], ids[length * 9 // 10 :])


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Let a step take as long as on two cores with bfloat16, or so many times as long."""

    def takes(times, in_float32=1.0):
        def time_step(model, training, corpus, device):
            slower = in_float32 if training.precision == "float32" else 1.0
            return times * slower * model.n_parameters * 1e-7  # laptop: 82 ms

        monkeypatch.setattr(advice, "time_step", time_step)

    takes(1.0)
    return takes


@pytest.mark.parametrize(
    ("length", "vocab_size", "device", "minutes", "preset"),
    [
        (1_000_000, 65, CPU, None, "laptop"),
        (1_000_000, 65, CPU, 3.0, "laptop"),
        (1_000_000, 65, CPU, 0.3, "tiny"),
        (1_000_000, 65, MPS, None, "laptop"),
        (1_000_000, 65, CUDA, None, "gpu"),
        (1_000_000, 65, torch.device("cuda:1"), None, "gpu"),
        (1_000_000, 6000, CPU, None, "laptop"),
        (34_000, 3000, CPU, None, "tiny"),
        (100_000, 4000, CPU, None, "tiny"),
        (100_000, 65, CPU, None, "laptop"),
        (2_000, 50, CUDA, None, "tiny"),
        (20_000, 60, CPU, None, "tiny"),
        (30_000, 60, CPU, None, "laptop"),
        (40, 5, CPU, None, "tiny"),
    ],
)
def test_text_machine_and_time_decide(length, vocab_size, device, minutes, preset):
    advised = advise(corpus_of(length, vocab_size), device, minutes)
    assert advised.preset == preset
    assert f"{length * 9 // 10:,} characters to learn from, {vocab_size:,} distinct" in advised.why


def test_the_more_time_the_larger_the_model():
    corpus, parameters = corpus_of(1_000_000), []
    for minutes in (0.1, 1.0, 3.0, 15.0, 240.0):
        advised = advise(corpus, CPU, minutes)
        parameters.append(configure(65, advised.preset, advised.settings)[0].n_parameters)
    assert parameters == sorted(set(parameters))


@pytest.mark.parametrize("times", [0.1, 10.0])
def test_without_a_time_the_steps_of_laptop_are_made_by_its_model(machine, times):
    machine(times)
    advised = advise(corpus_of(1_000_000), CPU, None)
    assert (advised.preset, advised.settings) == ("laptop", {})


def test_a_quicker_machine_takes_a_larger_model_for_the_same_time(machine):
    corpus, chosen = corpus_of(1_000_000), []
    for times in (10.0, 6.0, 3.0, 1.0, 0.2, 0.05, 0.01):
        machine(times)
        advised = advise(corpus, CPU, 3.0)
        assert advised.why.endswith("the largest that makes enough steps in 3 min")
        model, training = configure(65, advised.preset, advised.settings)
        chosen.append((model.n_layer, model.n_embd, training.batch_size, model.block_size))
    assert chosen == [
        (1, 128, 32, 64),
        (2, 128, 16, 128),
        (2, 128, 8, 256),
        (4, 128, 8, 256),
        (5, 160, 8, 256),
        (5, 160, 4, 512),
        (6, 192, 4, 512),
    ]


def test_the_precision_asked_for_is_timed(machine):
    corpus = corpus_of(1_000_000)
    machine(1.0, in_float32=2.0)
    assert advise(corpus, CPU, 3.0, "bfloat16").preset == "laptop"
    assert advise(corpus, CPU, 3.0, "float32").preset == "tiny"


def test_a_real_step_is_timed(monkeypatch):
    monkeypatch.undo()
    assert advise(Corpus.from_text(story(60_000)), CPU, 0.001).settings["n_layer"] == 1


@pytest.mark.parametrize("length", [400, 2_000, 60_000, 10**6])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_is_advised_can_read_the_text(length, device):
    corpus = corpus_of(length)
    advised = advise(corpus, device, None)
    model, _ = configure(60, advised.preset, advised.settings)
    assert model.block_size <= corpus.largest_block_size


@pytest.mark.parametrize(("length", "interval"), [(10**7, 100), (20_000, 17), (600, 1)])
def test_a_small_text_is_evaluated_on_four_times_in_each_pass(length, interval):
    config = TrainConfig(batch_size=8, eval_interval=100)
    assert evaluate_often_enough(config, corpus_of(length), 32).eval_interval == interval


@pytest.mark.parametrize(
    ("length", "max_steps", "patience"),
    [
        (10**6, 9000, 30),  # a third of the run
        (10**6, 60_000, 36),  # eight passes of 439 steps
        (10**7, 1500, 5),
        (10**5, 1500, 5),  # as asked for: eight passes are over sooner
    ],
)
def test_a_training_goes_on_without_a_lower_loss_for_eight_passes_or_a_third_of_its_steps(
    length, max_steps, patience
):
    config = TrainConfig(batch_size=8, eval_interval=100, max_steps=max_steps, patience=5)
    assert be_patient(config, corpus_of(length), 256).patience == patience
    assert be_patient(replace(config, patience=0), corpus_of(length), 256).patience == 0


@pytest.mark.parametrize(
    ("chosen", "patience"), [([], 7), (["--patience=2"], 2), (["--preset=seed"], 10)]
)
def test_the_patience_of_a_run_follows_its_text_unless_a_person_chose_it(
    tmp_path, capsys, chosen, patience
):
    small = ["--n-layer=1", "--n-head=1", "--n-embd=4", "--max-steps=20", "--eval-interval=1"]
    plan = planned(story(8000), tmp_path, capsys, *small, *chosen)
    assert plan["training"]["patience"] == patience


@pytest.mark.parametrize(
    ("length", "decay"),
    [
        (10**7, 0.3),  # as in the preset
        (10**6, 0.38),  # 0.6 passes of 439 steps
        (250_000, 1.52),
        (20_000, 2.5),  # 40 steps
    ],
)
def test_the_smaller_a_text_the_faster_weights_decay(length, decay):
    config = TrainConfig(batch_size=8, learning_rate=1e-2, weight_decay=0.3)
    assert forget(config, corpus_of(length), 256).weight_decay == decay


@pytest.mark.parametrize(("chosen", "decay"), [([], 1.56), (["--weight-decay=0.2"], 0.2)])
def test_the_decay_of_a_run_follows_its_text_unless_a_person_chose_it(
    tmp_path, capsys, chosen, decay
):
    small = ["--n-layer=1", "--n-head=1", "--n-embd=4", "--max-steps=2"]
    plan = planned(story(8000), tmp_path, capsys, *small, *chosen)
    assert plan["training"]["weight_decay"] == decay


@pytest.mark.parametrize(
    ("passes", "dropout"), [(3.4, 0.0), (9.1, 0.1), (20.0, 0.2), (45.5, 0.3), (0.5, 0.0)]
)
def test_the_more_often_a_text_is_read_the_more_is_dropped(passes, dropout):
    model = GPTConfig(60, 256, dropout=0.0)
    assert drop_out(model, passes).dropout == dropout
    assert drop_out(replace(model, dropout=0.4), passes).dropout == 0.4


@pytest.mark.parametrize(
    ("chosen", "dropout"),
    [([], 0.3), (["--dropout=0.05"], 0.05), (["--preset=tiny"], 0.0)],
)
def test_only_auto_chooses_the_dropout_and_only_where_nobody_has(tmp_path, capsys, chosen, dropout):
    small = ["--n-layer=1", "--n-head=1", "--n-embd=4", "--block-size=32", "--max-steps=1"]
    small += ["--batch-size=64000"]  # 37 passes over the text in one step
    assert planned(story(60_000), tmp_path, capsys, *small, *chosen)["model"]["dropout"] == dropout


def test_auto_tells_why_and_a_person_has_the_last_word(tmp_path, capsys):
    book, run = tmp_path / "book.txt", tmp_path / "run"
    book.write_text(story(8000), encoding="utf-8")
    settings = ["--max-steps", "2", "--n-embd", "24", "--eval-interval", "2", "--device", "cpu"]
    assert main(["train", str(book), *settings, "--run", str(run)]) == 0
    assert "auto    tiny: 7,200 characters to learn from, " in capsys.readouterr().out
    record = json.loads((run / "run.json").read_text())
    assert (record["model"]["n_embd"], record["training"]["eval_interval"]) == (24, 2)
    assert record["model"]["block_size"] == 32


def planned(text, tmp_path, capsys, *options):
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    assert main(["plan", str(tmp_path / "book.txt"), *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_width_of_a_persons_choice_has_the_heads_of_the_preset(tmp_path, capsys):
    plan = planned(story(30_000), tmp_path, capsys, "--minutes=100", "--n-embd=256")
    assert (plan["model"]["n_layer"], plan["model"]["n_head"]) == (5, 4)


def test_a_text_shorter_than_the_usual_block_gets_a_shorter_one(tmp_path, capsys):
    assert planned(story(300), tmp_path, capsys)["model"]["block_size"] == 29


def test_a_time_is_planned_as_it_is_trained_with_what_a_person_chose(tmp_path, capsys):
    chosen = ["--eval-interval=33", "--warmup-steps=7", "--decay-steps=11"]
    plan = planned(story(30_000), tmp_path, capsys, "--preset=tiny", "--minutes=0.2", *chosen)
    assert 7 < plan["plan"]["seconds"] < 12
    assert plan["plan"]["steps"] == plan["training"]["max_steps"] != 320
    names = ("eval_interval", "warmup_steps", "decay_steps")
    assert [plan["training"][name] for name in names] == [33, 7, 11]


def test_it_is_told_before_that_a_training_run_may_end_early(tmp_path, capsys):
    book = tmp_path / "book.txt"
    book.write_text(story(3000), encoding="utf-8")
    assert main(["plan", str(book)]) == 0
    assert "stops sooner if 22 steps bring no lower validation loss" in capsys.readouterr().out
    assert main(["plan", str(book), "--patience=0"]) == 0
    assert "sooner" not in capsys.readouterr().out


def test_the_textbook_run_is_evaluated_on_as_the_textbook_says(tmp_path):
    book, run = tmp_path / "book.txt", tmp_path / "run"
    book.write_text(story(8000), encoding="utf-8")
    small = ["--n-layer", "1", "--n-head", "1", "--n-embd", "4", "--max-steps", "1"]
    assert main(["train", str(book), "--preset", "seed", *small, "--run", str(run)]) == 0
    assert json.loads((run / "run.json").read_text())["training"]["eval_interval"] == 200
