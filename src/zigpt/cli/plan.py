"""`zigpt plan`: what a text looks like and what training on it would cost."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from zigpt.cli.describe import describe_device, describe_text, sooner
from zigpt.cli.layout import column, labelled
from zigpt.cli.options import given, take_arrangement, take_decoding
from zigpt.cli.screen import duration
from zigpt.cli.spelling import command, train_words, with_options
from zigpt.cli.terminal import harmless, note
from zigpt.data.batches import Corpus
from zigpt.data.survey import Survey, advice, survey
from zigpt.language import mark, tr
from zigpt.runs.events import Planned
from zigpt.runs.reading import find_text, require_possible
from zigpt.runs.request import Preset, TrainRequest
from zigpt.runs.setup import decide
from zigpt.runs.training_text import with_standard_input
from zigpt.training.advice import Advice, advise
from zigpt.training.device import pick_device


def run(
    texts: tuple[Path, ...],
    preset: Preset,
    minutes: float | None,
    device: str,
    as_json: bool,
    **settings: Any,
) -> int:
    """Print the plan. Returns the exit code."""
    place = pick_device(device)
    how, arrangement = take_decoding(settings), take_arrangement(settings)
    texts = with_standard_input(texts, note)
    values = given(settings)
    request = TrainRequest(
        texts, preset, values, None, minutes, device, how=how, arrangement=arrangement
    )
    require_possible(preset, request.settings)
    source = find_text(request)
    corpus = Corpus.from_text(source.text, n_train=source.n_train)
    found = survey(source.text, len(corpus.train))
    planned = decide(request, corpus, place)
    model, training, plan = planned.model, planned.training, planned.plan
    advised = Advice(planned.preset, {}, planned.why)
    if preset != "auto":
        advised = advise(corpus, place, minutes, training.precision)
    if as_json:
        text = {"origin": source.origin, "encoding": source.encoding, "notices": source.notices}
        everything = {
            "text": text,
            "survey": asdict(found),
            "advice": advice(found),
            "device": str(place),
            "preset": planned.preset,
            "advised_preset": advised.preset,
            "model": asdict(model),
            "training": asdict(training),
            "plan": {**asdict(plan), "seconds": plan.seconds},
        }
        print(harmless(json.dumps(everything, ensure_ascii=False, indent=2)))
        return 0
    lines = [*describe_text(source, corpus), *_describe_survey(found), ""]
    lines += _describe_cost(planned, advised, place)
    lines.append(labelled(tr("start"), command(*train_words(request))))
    print(harmless("\n".join(lines)))
    return 0


def _describe_survey(found: Survey) -> list[str]:
    rarest = " ".join(f"{character!r} {count}x" for character, count in found.rarest)
    if not found.is_counted:
        rarest += tr("  (among {count:,} characters)", count=found.examined)
    repeated = tr("{share:.1%} of the text repeats an earlier long passage", share=found.repeated)
    overlap = tr(
        "{share:.1%} of the validation part also occurs in the train part", share=found.overlap
    )
    return [
        labelled(tr("rarest"), rarest),
        labelled(tr("repeat"), repeated),
        labelled(tr("overlap"), overlap),
        *(labelled(tr("note"), with_options(line)) for line in advice(found)),
    ]


def _describe_cost(planned: Planned, advised: Advice, device: torch.device) -> list[str]:
    model, training, plan = planned.model, planned.training, planned.plan
    why = tr(
        "{preset} (advised here: {advised.preset}; {advised.why})",
        preset=planned.preset,
        advised=advised,
    )
    table = [*model.parameter_table().items(), (mark("parameters"), plan.parameters)]
    steps = tr(
        "{steps:,} of {batch} x {block} characters",
        steps=plan.steps,
        batch=training.batch_size,
        block=model.block_size,
    )
    epochs = tr(
        "{epochs:.1f} times through the train part, dropout {dropout:g}",
        epochs=plan.epochs,
        dropout=model.dropout,
    )
    memory = tr("about {gigabytes:.1f} GB", gigabytes=plan.memory_bytes / 2**30)
    seconds = tr("about {time}, from timed steps", time=duration(plan.seconds))
    return [
        labelled(tr("device"), describe_device(device, training.precision)),
        labelled(tr("preset"), why),
        *(labelled("", column(tr(part), 20) + f"{count:>14,}") for part, count in table),
        labelled(tr("memory"), memory),
        labelled(tr("steps"), steps),
        labelled(tr("epochs"), epochs),
        labelled(tr("time"), seconds + sooner(training)),
    ]
