rule portrait:
    input:
        cells="results/{study}/tables/cells/{slice}.parquet",
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        scaling="results/{study}/tables/scaling/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        multiext(
            "results/{study}/figures/portrait/{slice}",
            ".json",
            ".html",
            ".svg",
            ".png",
        ),
        manifest="results/{study}/figures/portrait/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/portrait/{slice}.log",
    message:
        "Draw the phase portrait of {wildcards.slice}"
    script:
        "../scripts/portrait.py"


rule loss_curves:
    input:
        curves="results/{study}/tables/curves/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        multiext(
            "results/{study}/figures/loss_curves/{slice}",
            ".json",
            ".html",
            ".svg",
            ".png",
        ),
        manifest="results/{study}/figures/loss_curves/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/loss_curves/{slice}.log",
    message:
        "Draw the loss curves of {wildcards.slice}"
    script:
        "../scripts/loss_curves.py"


rule collapse:
    input:
        curves="results/{study}/tables/curves/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        multiext(
            "results/{study}/figures/collapse/{slice}",
            ".json",
            ".html",
            ".svg",
            ".png",
        ),
        manifest="results/{study}/figures/collapse/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/collapse/{slice}.log",
    message:
        "Draw the loss curves of {wildcards.slice} in rescaled time"
    script:
        "../scripts/collapse.py"


rule edges:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        scaling="results/{study}/tables/scaling.parquet",
        code=FIGURES_CODE,
    output:
        multiext("results/{study}/figures/edges", ".json", ".html", ".svg", ".png"),
        manifest="results/{study}/figures/edges.manifest.json",
    log:
        "results/logs/figures/{study}/edges.log",
    message:
        "Draw the edges of training against gamma"
    script:
        "../scripts/edges.py"


rule accuracy:
    input:
        cells="results/{study}/tables/cells.parquet",
        code=FIGURES_CODE,
    output:
        multiext("results/{study}/figures/accuracy", ".json", ".html", ".svg", ".png"),
        manifest="results/{study}/figures/accuracy.manifest.json",
    log:
        "results/logs/figures/{study}/accuracy.log",
    message:
        "Draw the best test accuracy against gamma"
    script:
        "../scripts/accuracy.py"


rule similarity_map:
    input:
        similarity="results/{study}/tables/similarity.parquet",
        code=FIGURES_CODE,
    output:
        multiext("results/{study}/figures/similarity", ".json", ".html", ".svg", ".png"),
        manifest="results/{study}/figures/similarity.manifest.json",
    log:
        "results/logs/figures/{study}/similarity.log",
    message:
        "Draw the similarity of representations"
    script:
        "../scripts/similarity_map.py"


rule observables_chart:
    input:
        observables="results/{study}/tables/observables/{slice}.parquet",
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        curves="results/{study}/tables/curves/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        multiext(
            "results/{study}/figures/observables/{slice}",
            ".json",
            ".html",
            ".svg",
            ".png",
        ),
        manifest="results/{study}/figures/observables/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/observables/{slice}.log",
    message:
        "Draw what was measured during the runs of {wildcards.slice}"
    script:
        "../scripts/observables_chart.py"
