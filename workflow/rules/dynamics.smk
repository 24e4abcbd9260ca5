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
