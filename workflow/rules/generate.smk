# MNIST-1M, where a generator makes it: results/generated/<model>/model.pt -> results/generated/mnist1m-<key>/chunk_<k>.npz
# -> results/data/mnist1m-<key>. The key names the options, so other options make other files and leave these alone.
# MNIST is `ancient`: preparing it again gives the same content, and a million images are not made again for that.


wildcard_constraints:
    generator="(diffusion|deform)-[0-9a-f]{8}",
    model="diffusion-[0-9a-f]{8}",
    number=r"\d+",


rule train_generator:
    input:
        mnist=ancient("results/data/mnist/manifest.json"),
    output:
        "results/generated/{model}/model.pt",
    log:
        "results/logs/generated/{model}.log",
    threads: all_cores
    params:
        options=lambda wildcards: PLAN.models[wildcards.model].train_options,
    message:
        "Train the diffusion model {wildcards.model} on MNIST"
    shell:
        "{PYTHON:q} -m gammascape.generate train --source {input.mnist:q}"
        " --output {output:q} {params.options:q} > {log:q} 2>&1"


rule sample_chunk:
    input:
        model=lambda wildcards: PLAN.model_file(wildcards.generator),
    output:
        "results/generated/mnist1m-{generator}/chunk_{number}.npz",
    log:
        "results/logs/generated/mnist1m-{generator}/chunk_{number}.log",
    wildcard_constraints:
        generator="diffusion-[0-9a-f]{8}",
    threads: one_for_each_gpu
    params:
        options=lambda wildcards: PLAN.generators[wildcards.generator].chunk_options,
    message:
        "Sample chunk {wildcards.number} of MNIST-1M from the diffusion model"
    shell:
        "{PYTHON:q} -m gammascape.generate chunk --model {input.model:q} --number {wildcards.number}"
        " --output {output:q} {params.options:q} > {log:q} 2>&1"


rule deform_chunk:
    input:
        mnist=ancient("results/data/mnist/manifest.json"),
    output:
        "results/generated/mnist1m-{generator}/chunk_{number}.npz",
    log:
        "results/logs/generated/mnist1m-{generator}/chunk_{number}.log",
    wildcard_constraints:
        generator="deform-[0-9a-f]{8}",
    threads: one_for_each_gpu
    params:
        options=lambda wildcards: PLAN.generators[wildcards.generator].chunk_options,
    message:
        "Deform images of MNIST for chunk {wildcards.number} of MNIST-1M"
    shell:
        "{PYTHON:q} -m gammascape.generate deform --source {input.mnist:q} --number {wildcards.number}"
        " --output {output:q} {params.options:q} > {log:q} 2>&1"


rule measure_quality:
    input:
        chunks=lambda wildcards: PLAN.chunks(wildcards.generator),
        mnist=ancient("results/data/mnist/manifest.json"),
    output:
        "results/generated/mnist1m-{generator}/measures.json",
    log:
        "results/logs/generated/mnist1m-{generator}/measures.log",
    threads: all_cores
    message:
        "Compare the digits of {wildcards.generator} with MNIST"
    shell:
        "{PYTHON:q} -m gammascape.generate quality --chunks {input.chunks:q} --source {input.mnist:q}"
        " --output {output:q} > {log:q} 2>&1"


rule quality:
    input:
        measures="results/generated/mnist1m-{generator}/measures.json",
        code=code_of("quality"),
    output:
        "results/generated/mnist1m-{generator}/quality.json",
        "results/generated/mnist1m-{generator}/quality.html",
        report(
            "results/generated/mnist1m-{generator}/quality.svg",
            caption="../report/quality.rst",
            category="Generated digits",
            labels={"figure": "quality", "slice": "{generator}"},
        ),
        "results/generated/mnist1m-{generator}/quality.png",
        manifest="results/generated/mnist1m-{generator}/quality.manifest.json",
    log:
        "results/logs/figures/mnist1m-{generator}/quality.log",
    message:
        "Draw how the digits of {wildcards.generator} compare with MNIST"
    script:
        "../scripts/quality.py"


rule prepare_generated:
    input:
        chunks=lambda wildcards: PLAN.chunks(wildcards.generator),
        mnist=ancient("results/data/mnist/manifest.json"),
    output:
        "results/data/mnist1m-{generator}/manifest.json",
    log:
        "results/logs/data/mnist1m-{generator}.log",
    params:
        made=lambda wildcards: PLAN.prepare_options(wildcards.generator),
    message:
        "Prepare MNIST-1M from the chunks of {wildcards.generator}"
    shell:
        "{PYTHON:q} -m gammascape.data.prepare mnist1m --mnist {input.mnist:q} {params.made:q}"
        " --source results/generated/mnist1m-{wildcards.generator}"
        " --output results/data/mnist1m-{wildcards.generator} > {log:q} 2>&1"
