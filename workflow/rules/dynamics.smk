# What happens in the runs of a study: cells of different gamma on one path.


rule dynamics:
    input:
        cells="results/{study}/tables/cells.parquet",
        thresholds="results/{study}/tables/thresholds.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        summaries=lambda wildcards: study_cells(wildcards, "summary.json"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/dynamics.parquet",
        manifest="results/{study}/tables/dynamics.manifest.json",
    log:
        "results/logs/tables/{study}/dynamics.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Find plateaus, drops and catapults in the runs of {wildcards.study}"
    script:
        "../scripts/dynamics.py"


rule dynamics_scaling:
    input:
        dynamics="results/{study}/tables/dynamics.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/dynamics_scaling.parquet",
        manifest="results/{study}/tables/dynamics_scaling.manifest.json",
    log:
        "results/logs/tables/{study}/dynamics_scaling.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Fit exponents to what happens in the runs of {wildcards.study}"
    script:
        "../scripts/dynamics_scaling.py"


rule collapse_table:
    input:
        dynamics="results/{study}/tables/dynamics.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/collapse.parquet",
        manifest="results/{study}/tables/collapse.manifest.json",
    log:
        "results/logs/tables/{study}/collapse.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Measure how well the curves of {wildcards.study} collapse in rescaled time"
    script:
        "../scripts/collapse_table.py"


rule phenomena:
    input:
        dynamics="results/{study}/tables/dynamics.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        summaries=lambda wildcards: study_cells(wildcards, "summary.json"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/phenomena.parquet",
        manifest="results/{study}/tables/phenomena.manifest.json",
    log:
        "results/logs/tables/{study}/phenomena.log",
    message:
        "Take the curves of catapults and of alignment in {wildcards.study}"
    script:
        "../scripts/phenomena.py"


rule dynamics_chart:
    input:
        dynamics="results/{study}/tables/dynamics.parquet",
        scaling="results/{study}/tables/dynamics_scaling.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/dynamics.json",
        "results/{study}/figures/dynamics.html",
        report(
            "results/{study}/figures/dynamics.svg",
            caption="../report/dynamics_chart.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "dynamics", "slice": "all"},
        ),
        "results/{study}/figures/dynamics.png",
        manifest="results/{study}/figures/dynamics.manifest.json",
    log:
        "results/logs/figures/{study}/dynamics.log",
    message:
        "Draw what happens during training against gamma"
    script:
        "../scripts/dynamics_chart.py"


rule phenomena_chart:
    input:
        phenomena="results/{study}/tables/phenomena.parquet",
        dynamics="results/{study}/tables/dynamics.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/phenomena.json",
        "results/{study}/figures/phenomena.html",
        report(
            "results/{study}/figures/phenomena.svg",
            caption="../report/phenomena_chart.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "catapults and silent alignment", "slice": "all"},
        ),
        "results/{study}/figures/phenomena.png",
        manifest="results/{study}/figures/phenomena.manifest.json",
    log:
        "results/logs/figures/{study}/phenomena.log",
    message:
        "Draw catapults and silent alignment"
    script:
        "../scripts/phenomena_chart.py"
