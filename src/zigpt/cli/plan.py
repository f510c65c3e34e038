"""`zigpt plan`: what a text looks like and what training on it would cost."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zigpt.cli.describe import describe_text, sooner
from zigpt.cli.options import given
from zigpt.cli.screen import duration
from zigpt.cli.spelling import command, train_words
from zigpt.cli.terminal import harmless
from zigpt.data.batches import Corpus
from zigpt.data.survey import advice, survey
from zigpt.runs.reading import find_text, require_possible
from zigpt.runs.request import Preset, TrainRequest
from zigpt.runs.setup import decide
from zigpt.training.advice import advise
from zigpt.training.device import describe, pick_device, pick_precision, precision_name


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
    request = TrainRequest(texts, preset, given(settings), minutes=minutes, device=device)
    require_possible(preset, request.settings)
    source = find_text(texts)
    corpus = Corpus.from_text(source.text)
    found = survey(source.text, len(corpus.train))
    planned = decide(request, corpus, place)
    model, training, plan = planned.model, planned.training, planned.plan
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
    rarest = " ".join(f"{character!r} {count}x" for character, count in found.rarest)
    precision = precision_name(pick_precision(place, training.precision))
    print(harmless("\n".join(describe_text(source, corpus))))
    among = "" if found.is_counted else f"  (among {found.examined:,} characters)"
    print(f"rarest  {rarest}{among}")
    print(f"repeat  {found.repeated:.1%} of the text repeats an earlier long passage")
    print(f"overlap {found.overlap:.1%} of the validation part also occurs in the train part")
    for line in advice(found):
        print(f"note    {line}")
    print()
    print(f"device  {describe(place)}, {precision}")
    print(f"preset  {planned.preset} (advised here: {advised.preset}; {advised.why})")
    for part, count in model.parameter_table().items():
        print(f"        {part:<20}{count:>14,}")
    print(f"        {'parameters':<20}{plan.parameters:>14,}")
    print(f"memory  about {plan.memory_bytes / 2**30:.1f} GB")
    print(f"steps   {plan.steps:,} of {training.batch_size} x {model.block_size} characters")
    print(f"epochs  {plan.epochs:.1f} times through the train part, dropout {model.dropout:g}")
    print(f"time    about {duration(plan.seconds)}, from timed steps{sooner(training)}")
    print(harmless(f"start   {command(*train_words(request))}"))
    return 0
