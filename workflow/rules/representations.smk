# How alike the networks of a study are: representations and functions, at equal steps and at equal loss.


rule similarity:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/similarity.parquet",
        manifest="results/{study}/tables/similarity.manifest.json",
    log:
        "results/logs/tables/{study}/similarity.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Compare representations across models and gammas of {wildcards.study}"
    script:
        "../scripts/similarity.py"


rule function_similarity:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/function_similarity.parquet",
        manifest="results/{study}/tables/function_similarity.manifest.json",
    log:
        "results/logs/tables/{study}/function_similarity.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Compare functions across models and gammas of {wildcards.study}"
    script:
        "../scripts/function_similarity.py"


rule similarity_trend:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/similarity_trend.parquet",
        manifest="results/{study}/tables/similarity_trend.manifest.json",
    log:
        "results/logs/tables/{study}/similarity_trend.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Follow the similarity of networks of equal gamma in {wildcards.study}"
    script:
        "../scripts/similarity_trend.py"


rule similarity_summary:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/similarity_summary.parquet",
        manifest="results/{study}/tables/similarity_summary.manifest.json",
    log:
        "results/logs/tables/{study}/similarity_summary.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Tell whether networks grow more alike with gamma in {wildcards.study}"
    script:
        "../scripts/similarity_summary.py"
