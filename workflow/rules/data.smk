# Shell rules with constant text: a script whose file time changes would prepare again and retrain everything.


def source_of(dataset):
    folder = PLAN.config.data.source(dataset)
    if folder is None:
        return []
    return ["--source", folder] + ["--download"] * PLAN.config.data.download


rule prepare_dataset:
    output:
        "results/data/{dataset}/manifest.json",
    log:
        "results/logs/data/{dataset}.log",
    wildcard_constraints:
        dataset="digits|mnist|cifar10|cifar5m|tinyimagenet",
    params:
        source=lambda wildcards: source_of(wildcards.dataset),
    message:
        "Prepare {wildcards.dataset}"
    shell:
        "{PYTHON:q} -m gammascape.data.prepare {wildcards.dataset} {params.source:q}"
        " --output results/data/{wildcards.dataset} > {log:q} 2>&1"


rule prepare_own:
    output:
        "results/data/{own}/manifest.json",
    log:
        "results/logs/data/{own}.log",
    wildcard_constraints:
        own="(folder|arrays|table)-[0-9a-f]{12}",
    params:
        kind=lambda wildcards: wildcards.own.partition("-")[0],
        options=lambda wildcards: PLAN.own(wildcards.own),
    message:
        "Prepare {wildcards.own}"
    shell:
        "{PYTHON:q} -m gammascape.data.prepare {params.kind} --options {params.options:q}"
        " --output results/data/{wildcards.own} > {log:q} 2>&1"


rule prepare_mnist1m:
    input:
        mnist="results/data/mnist/manifest.json",
    output:
        "results/data/mnist1m/manifest.json",
    log:
        "results/logs/data/mnist1m.log",
    params:
        source=PLAN.config.data.chunks,
    message:
        "Prepare MNIST-1M from the chunks in {params.source}"
    shell:
        "{PYTHON:q} -m gammascape.data.prepare mnist1m --source {params.source:q}"
        " --mnist {input.mnist:q} --output results/data/mnist1m > {log:q} 2>&1"
