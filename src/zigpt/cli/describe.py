"""Lines that describe a text, a plan and the baselines."""

import torch

from zigpt.cli.layout import labelled, one_line
from zigpt.cli.screen import duration
from zigpt.data.arrangement import END
from zigpt.data.baselines import Ladder, extent
from zigpt.data.batches import Corpus
from zigpt.data.source import Source
from zigpt.data.stored import StoredText
from zigpt.gpt.config import Precision, TrainConfig
from zigpt.language import tr
from zigpt.runs.events import Planned
from zigpt.training.device import describe, pick_precision, precision_name


def describe_text(source: Source, corpus: Corpus) -> list[str]:
    """Describe the text that was used, and what was noticed in reading it."""
    read = tr(
        "{text}: {count:,} characters, {distinct:,} distinct, {encoding}",
        text=source.origin,
        count=len(source.text),
        distinct=corpus.tokenizer.vocab_size,
        encoding=source.encoding,
    )
    split = tr(
        "{train:,} characters to learn from, {validation:,} held out for validation: {what}",
        train=len(corpus.train),
        validation=len(corpus.validation),
        what=source.held_out.sentence(source.arrangement.held_out),
    )
    lines = [labelled(tr("text"), read), labelled(tr("split"), split)]
    if source.is_marked:
        marked = tr("every document ends with {mark}, which the model learns", mark=END)
        lines.insert(1, labelled(tr("ends"), marked))
    if isinstance(source.text, StoredText):
        path = one_line(str(source.text.path), 200)
        lines.append(labelled(tr("kept"), tr("as ids in {path}", path=path)))
    lines += [labelled(tr("note"), notice) for notice in source.notices]
    if not source.encoding.startswith("UTF-8"):
        lines.append(labelled(tr("sample"), one_line(source.text[:10_000].lstrip()[:60])))
    return lines


def describe_plan(planned: Planned) -> list[str]:
    """Describe what will be trained, where, and for how long."""
    model, config, plan = planned.model, planned.training, planned.plan
    adapted = tr("{preset}, adapted to text and time", preset=planned.preset)
    preset = tr(
        "{name}: layers {model.n_layer}, heads {model.n_head}, width {model.n_embd}, "
        "block {model.block_size}, batch {batch}: {predictions:,} predictions per step",
        name=adapted if planned.why else planned.preset,
        model=model,
        batch=config.batch_size,
        predictions=config.batch_size * model.block_size,
    )
    size = tr(
        "{parameters:,} parameters, about {gigabytes:.1f} GB memory",
        parameters=plan.parameters,
        gigabytes=plan.memory_bytes / 2**30,
    )
    course = tr(
        "{steps:,} steps, {epochs:.1f} times through the text, dropout {dropout:g}, about {time}",
        steps=plan.steps,
        epochs=plan.epochs,
        dropout=model.dropout,
        time=duration(plan.seconds),
    )
    lines = [labelled(tr("device"), describe_device(planned.device, config.precision))]
    if planned.why:
        why = tr("{preset}: {why}", preset=planned.preset, why=planned.why)
        lines.append(labelled(tr("auto"), why))
    return [
        *lines,
        labelled(tr("preset"), preset),
        labelled(tr("model"), size),
        labelled(tr("plan"), course + sooner(config)),
    ]


def describe_device(device: torch.device, wanted: Precision) -> str:
    """Name a device, and the precision of its products."""
    precision = precision_name(pick_precision(device, wanted))
    return tr("{device}, {precision}", device=describe(device), precision=precision)


def sooner(config: TrainConfig) -> str:
    """Say when a training run may end before its last step, if it may."""
    steps = config.patience * config.eval_interval
    if not 0 < steps < config.max_steps:
        return ""
    return tr("; it stops sooner if {steps:,} steps bring no lower validation loss", steps=steps)


def describe_ladder(ladder: Ladder, corpus: Corpus) -> list[str]:
    """Describe what simpler models reach on this text."""
    rungs = " > ".join(f"{rung.name} {rung.loss:.3f}" for rung in ladder.rungs)
    whose = tr("(validation loss in nats per character of simpler models)")
    lines = [labelled(tr("ladder"), f"{rungs}  {whose}")]
    if part := extent(len(corpus.train), len(corpus.validation)):
        lines.append(labelled("", part))
    return lines
