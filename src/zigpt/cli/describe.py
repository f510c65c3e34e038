"""Lines that describe a text, a plan and the baselines."""

from zigpt.cli.screen import duration, one_line
from zigpt.data.baselines import Ladder, extent
from zigpt.data.batches import Corpus
from zigpt.data.source import Source
from zigpt.data.stored import StoredText
from zigpt.gpt.config import TrainConfig
from zigpt.runs.events import Planned
from zigpt.training.device import describe, pick_precision, precision_name


def describe_text(source: Source, corpus: Corpus) -> list[str]:
    """Describe the text that was used, and what was noticed in reading it."""
    lines = [
        f"text    {source.origin}: {len(source.text):,} characters, "
        f"{corpus.tokenizer.vocab_size:,} distinct, {source.encoding}",
        f"split   {len(corpus.train):,} characters to learn from, "
        f"the last {len(corpus.validation):,} held out for validation",
    ]
    if isinstance(source.text, StoredText):
        lines.append(f"kept    as ids in {one_line(str(source.text.path), 200)}")
    lines += [f"note    {notice}" for notice in source.notices]
    if not source.encoding.startswith("UTF-8"):
        lines.append(f"sample  {one_line(source.text[:10_000].lstrip()[:60])}")
    return lines


def describe_plan(planned: Planned) -> list[str]:
    """Describe what will be trained, where, and for how long."""
    model, config, plan = planned.model, planned.training, planned.plan
    precision = precision_name(pick_precision(planned.device, config.precision))
    chosen = [f"auto    {planned.preset}: {planned.why}"] if planned.why else []
    return [
        f"device  {describe(planned.device)}, {precision}",
        *chosen,
        f"preset  {planned.preset}: layers {model.n_layer}, heads {model.n_head}, "
        f"width {model.n_embd}, block {model.block_size}, batch {config.batch_size}: "
        f"{config.batch_size * model.block_size:,} predictions per step",
        f"model   {plan.parameters:,} parameters, about {plan.memory_bytes / 2**30:.1f} GB memory",
        f"plan    {plan.steps:,} steps, {plan.epochs:.1f} times through the text, "
        f"dropout {model.dropout:g}, about {duration(plan.seconds)}{sooner(config)}",
    ]


def sooner(config: TrainConfig) -> str:
    """Say when a training run may end before its last step, if it may."""
    steps = config.patience * config.eval_interval
    if not 0 < steps < config.max_steps:
        return ""
    return f"; it stops sooner if {steps:,} steps bring no lower validation loss"


def describe_ladder(ladder: Ladder, corpus: Corpus) -> list[str]:
    """Describe what simpler models reach on this text."""
    rungs = " > ".join(f"{rung.name} {rung.loss:.3f}" for rung in ladder.rungs)
    line = f"ladder  {rungs}  (validation loss in nats per character of simpler models)"
    part = extent(len(corpus.train), len(corpus.validation))
    return [line, f"        {part}"] if part else [line]
