rule claims:
    input:
        scaling="results/{study}/tables/scaling.parquet",
        dynamics="results/{study}/tables/dynamics.parquet",
        dynamics_scaling="results/{study}/tables/dynamics_scaling.parquet",
        collapse="results/{study}/tables/collapse.parquet",
        gain="results/{study}/tables/gain.parquet",
        similarity_summary="results/{study}/tables/similarity_summary.parquet",
        trends=lambda wildcards: (
            f"results/{wildcards.study}/tables/trends.parquet"
            if PLAN.factors(wildcards.study)
            else []
        ),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/claims.parquet",
        manifest="results/{study}/tables/claims.manifest.json",
    log:
        "results/logs/tables/{study}/claims.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Judge the claims of the paper by {wildcards.study}"
    script:
        "../scripts/claims.py"
