"""All benchmarks by name: where each is, what it makes and how long that takes."""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """One command.

    Attributes:
      name: of the command, `python -m benchmarks NAME`.
      folder: of its module, "" where that is `benchmarks` itself.
      shows: what it measures.
      makes: what it writes, in `results/` unless it says otherwise.
      takes: how long, on two CPU cores, where that was noted.
    """

    name: str
    folder: str
    shows: str
    makes: str
    takes: str = "not noted"

    @property
    def module(self) -> str:
        """What is imported."""
        return ".".join(filter(None, ("benchmarks", self.folder, self.name)))


RESUMES = "long; goes on where it stopped"
ALL = (
    Benchmark(
        "step_time",
        "speed",
        "time of a step in bare forward passes; `--compile`",
        "step_time_*.json",
        "10 minutes",
    ),
    Benchmark("forward", "speed", "our own networks beside PyTorch's", "forward.json", "5 minutes"),
    Benchmark("memory", "speed", "temporary memory of a step", "memory.json", "some minutes"),
    Benchmark(
        "paper_sizes",
        "speed",
        "memory at the paper's sizes, compiled ahead",
        "paper_sizes.json",
        "some minutes",
    ),
    Benchmark("optimizer_state", "speed", "bytes of optimiser state", "optimizer_state.json"),
    Benchmark("minilm", "speed", "perturbed evaluation against copies", "minilm.json", "5 minutes"),
    Benchmark("journal", "speed", "replay against training", "journal.json", "3 minutes"),
    Benchmark(
        "journal_versions", "speed", "replay on another version of JAX", "journal_versions.json"
    ),
    Benchmark("generation", "speed", "tokens a second", "generation*.json", "minutes"),
    Benchmark(
        "low_bit", "speed", "training beside weights of 4 bits", "low_bit_*", "minutes a part"
    ),
    Benchmark(
        "low_bit_learning",
        "evidence",
        "what is learned beside weights of 4 bits",
        "low_bit_learning.*",
        RESUMES,
    ),
    Benchmark(
        "reward_speed",
        "speed",
        "a step on a reward, beside generation",
        "reward_speed*.json",
        "minutes",
    ),
    Benchmark(
        "scaling", "speed", "virtual devices, and clusters on paper", "scaling*.json", "10 minutes"
    ),
    Benchmark(
        "gpu",
        "speed",
        "every method, steps, text and replay on one accelerator",
        "gpu.json, gpu.md",
        "seconds with --tiny",
    ),
    Benchmark(
        "queries_to_target",
        "evidence",
        "every method at equal forward passes",
        "queries_to_target.jsonl",
        RESUMES,
    ),
    Benchmark(
        "ablations", "evidence", "what each part of LOREN is worth", "ablations.jsonl", RESUMES
    ),
    Benchmark(
        "defaults", "evidence", "every default against its neighbours", "defaults.jsonl", RESUMES
    ),
    Benchmark("peers", "evidence", "beside evosax and gradients", "peers.jsonl", RESUMES),
    Benchmark(
        "rewards", "evidence", "language models that learn from rewards", "rewards.*", RESUMES
    ),
    Benchmark("reward_noise", "evidence", "what common sampling noise gains", "rows of rewards.*"),
    Benchmark("frozen_probe", "evidence", "logistic regression on the same features", "a table"),
    Benchmark(
        "gradient_quality",
        "evidence",
        "estimates beside the gradient",
        "gradient_quality*.json",
        "1 to 3 minutes",
    ),
    Benchmark("test_functions", "evidence", "paths over a saddle", "test_functions.*", "3 minutes"),
    Benchmark("low_precision", "evidence", "slopes found in bfloat16", "a table"),
    Benchmark("llama2c", "evidence", "converts a model of llama2.c", "a model directory"),
    Benchmark(
        "compatibility",
        "evidence",
        "other people's code against copies",
        "compatibility.*",
        RESUMES,
    ),
    Benchmark(
        "confirm", "research", "directions along inputs, more layers", "research_confirm.json"
    ),
    Benchmark(
        "chains", "research", "what may follow the estimate", "research_chains.jsonl", RESUMES
    ),
    Benchmark(
        "untuned", "research", "steps of a planned length", "research_untuned.jsonl", RESUMES
    ),
    Benchmark(
        "no_rate", "research", "heads with and without a rate", "research_no_rate.jsonl", RESUMES
    ),
    Benchmark(
        "stability",
        "research",
        "constants of no rate, a tenth and ten times",
        "research_stability.jsonl",
        RESUMES,
    ),
    Benchmark(
        "exact", "research", "gradients of the last parts alone", "research_exact.jsonl", RESUMES
    ),
    Benchmark(
        "whole", "research", "all parameters of MiniLM and SmolLM2", "research_whole.jsonl", RESUMES
    ),
    Benchmark("rows_cost", "research", "what a direction for each row costs", "a line", "a minute"),
    Benchmark(
        "prompted_inputs",
        "research",
        "along which inputs a decoder learns",
        "research_prompted_inputs.json",
    ),
    Benchmark(
        "tables", "", "all tables and pictures from the rows", "*.md, *.png, docs/", "seconds"
    ),
    Benchmark("methods_table", "", "the table of methods", "README, docs, a docstring", "seconds"),
)
BY_NAME = {benchmark.name: benchmark for benchmark in ALL}


def listed() -> str:
    """The table of all, in Markdown."""
    head = ("`python -m benchmarks`", "shows", "makes", "takes")
    rows = [head, ("---",) * len(head)]
    rows += [(f"`{b.name}`", b.shows, b.makes.replace("*", r"\*"), b.takes) for b in ALL]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
