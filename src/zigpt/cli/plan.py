"""`zigpt plan`: what a text looks like and what training on it would cost."""

import json
import shlex
from dataclasses import asdict

from zigpt.cli.options import PlanOptions, said
from zigpt.cli.screen import duration, program
from zigpt.cli.source import choose, describe_text, find_text, require_possible
from zigpt.cli.terminal import harmless
from zigpt.corpus import Corpus
from zigpt.device import describe, pick_device, pick_precision, precision_name
from zigpt.plan import advise_preset, make_plan
from zigpt.survey import advice, survey


def run(options: PlanOptions) -> int:
    """Print the plan. Returns the exit code."""
    device = pick_device(options.device)
    require_possible(options.preset, said(options.settings))
    source = find_text(options.texts)
    corpus = Corpus.from_text(source.text)
    preset, model, training = choose(options.preset, corpus, device, said(options.settings))
    found = survey(source.text, len(corpus.train))
    plan = make_plan(model, training, corpus, device)
    advised = advise_preset(corpus, device)
    if options.json:
        text = {"origin": source.origin, "encoding": source.encoding, "notices": source.notices}
        everything = {
            "text": text,
            "survey": asdict(found),
            "advice": advice(found),
            "device": str(device),
            "preset": preset,
            "advised_preset": advised,
            "model": asdict(model),
            "training": asdict(training),
            "plan": {**asdict(plan), "seconds": plan.seconds},
        }
        print(harmless(json.dumps(everything, ensure_ascii=False, indent=2)))
        return 0
    rarest = " ".join(f"{character!r} {count}x" for character, count in found.rarest)
    precision = precision_name(pick_precision(device, training.precision))
    print(harmless("\n".join(describe_text(source, corpus))))
    among = "" if found.is_counted else f"  (among {found.examined:,} characters)"
    print(f"rarest  {rarest}{among}")
    print(f"repeat  {found.repeated:.1%} of the text stood there before, in long passages")
    print(f"overlap {found.overlap:.1%} of the test part stands in the train part as well")
    for line in advice(found):
        print(f"note    {line}")
    print()
    print(f"device  {describe(device)}, {precision}")
    print(f"preset  {preset} (advised here: {advised})")
    for part, count in model.parameter_table().items():
        print(f"        {part:<20}{count:>14,}")
    print(f"        {'parameters':<20}{plan.parameters:>14,}")
    print(f"memory  about {plan.memory_bytes / 2**30:.1f} GB")
    print(f"steps   {plan.steps:,} of {training.batch_size} x {model.block_size} characters")
    print(f"epochs  {plan.epochs:.1f} times through the train part")
    print(f"time    about {duration(plan.seconds)}, from timed steps")
    overrides = [
        f"--{name.replace('_', '-')}={value}" for name, value in said(options.settings).items()
    ]
    words = ["train", *map(str, options.texts), f"--preset={preset}", *overrides]
    print(harmless(f"start   {program()} {shlex.join(words)}"))
    return 0
